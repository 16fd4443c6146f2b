"""The body of a Llama-like model, computed from its weights: what scoring needs of it, and no more.

Queries, keys and values are one product, and so are gate and up; what lies between products is changed in
place, in memory that is taken once a batch; the last layer goes on for the wanted places alone. Several
copies of a batch can go through one set of weights, each with an adapter of its own or none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN

from selfie.scoring.adapters import Adapter
from selfie.scoring.attention import Heads, KeysValues, Layout, Looking, attend, rotated
from selfie.scoring.projections import Projection, fused
from selfie.scoring.prompts import KeptPrompt

Adapters = Sequence[Adapter | None]
"""One for each copy of a batch."""


@dataclass(frozen=True)
class Batch:
    """A packed sequence on a device: ids and positions [tokens], its layout, and what is wanted of it.

    ``wanted`` are places in it; ``scored`` are indices into them, and beyond them into the ends of the
    ``kept`` prompts. ``keep`` are prompts of the sequence to be kept, each with the index of its end.
    """

    ids: Tensor
    positions: Tensor
    layout: Layout
    wanted: Tensor
    scored: Tensor
    kept: Sequence[KeptPrompt] = ()
    keep: Sequence[tuple[slice, int]] = ()


@dataclass(frozen=True)
class Block:
    """Weights of one layer; norms of queries and keys only where the architecture has them."""

    attention_norm: Tensor
    qkv: Projection
    query_norm: Tensor | None
    key_norm: Tensor | None
    output: Projection
    mlp_norm: Tensor
    gate_up: Projection
    down: Projection


class Decoder:
    """The body of one model, in products of one dtype.

    That is also the dtype of everything that lies between products; the stream that all layers add to is
    float32 whatever they multiply in.
    """

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype = torch.float32) -> None:
        body, config = model.base_model, model.config.get_text_config()
        first = body.layers[0].self_attn
        self._embedding: nn.Module = body.embed_tokens
        self._rotation: nn.Module = body.rotary_emb
        self._norm: Tensor = body.norm.weight
        self._epsilon = float(config.rms_norm_eps)
        self._activation: Callable[[Tensor], Tensor] = ACT2FN[config.hidden_act]
        self._heads = Heads(config.num_attention_heads, config.num_key_value_heads, int(first.head_dim))
        self._scaling = float(first.scaling)
        self._blocks = [_block(layer, dtype) for layer in body.layers]

    @torch.no_grad()
    def states(self, batch: Batch, adapters: Adapters = (None,)) -> tuple[Tensor, list[KeptPrompt]]:
        """Final, normalised hidden states [copies, scored, hidden], and the prompts to keep."""
        stream = self._embedding(batch.ids).repeat(len(adapters), 1)
        space = _Space.of(stream, self._heads, self._blocks[0])
        rotation = self._rotation(space.qkv, batch.positions[None])
        cos, sin = (each[0, :, : self._heads.size // 2] for each in rotation)
        going = _Pass(batch, adapters, cos, sin, space)
        looked_at: list[list[KeysValues]] = []
        for index, block in enumerate(self._blocks):
            looking = self._looking(index, block, stream, going)
            looked_at.append([_looked_at(looking, span) for span, _ in batch.keep])
            self._attend(index, looking, going)
            if index + 1 == len(self._blocks):
                stream, going = self._narrowed(stream, going)
            self._transform(index, block, stream, going)
        found = torch.empty_like(stream)
        _normalise(stream, self._norm, self._epsilon, out=found)
        found = found.view(len(adapters), len(batch.wanted), -1)
        return _scored(found, batch), _kept(found, looked_at, batch)

    def _looking(self, index: int, block: Block, stream: Tensor, going: "_Pass") -> Looking:
        space = going.space
        _normalise(stream, block.attention_norm, self._epsilon, out=space.normed)
        block.qkv.write(space.normed, space.qkv)
        _adapt(going.adapters, index, "qkv", space.normed, space.qkv)
        if block.query_norm is not None and block.key_norm is not None:
            self._normalise_heads(space.qkv, block.query_norm, block.key_norm)
        mixed = space.qkv.view(len(going.adapters), -1, self._heads.width)
        return rotated(mixed, self._heads, going.cos, going.sin)

    def _attend(self, index: int, looking: Looking, going: "_Pass") -> None:
        """Every copy by itself, into the memory for it, whose axes are only named in another order."""
        heads, batch, copies = self._heads, going.batch, len(going.adapters)
        out = going.space.attended.view(copies, -1, heads.key, heads.query // heads.key, heads.size)
        for copy in range(copies):
            own = slice(copy * heads.key, (copy + 1) * heads.key)
            seen = [(each.keys[index, own], each.values[index, own]) for each in batch.kept]
            by_head = out[copy].permute(1, 2, 0, 3)
            attend(looking.of(own), batch.layout, seen, scaling=self._scaling, out=by_head)

    def _narrowed(self, stream: Tensor, going: "_Pass") -> tuple[Tensor, "_Pass"]:
        """The wanted places alone, which is all that goes on behind the last layer's attention."""
        copies, wanted = len(going.adapters), going.batch.wanted
        attended = going.space.attended.view(copies, -1, going.space.attended.shape[1])[:, wanted]
        stream = stream.view(copies, -1, stream.shape[1])[:, wanted].flatten(0, 1)
        space = replace(_Space.of(stream, self._heads, self._blocks[-1]), attended=attended.flatten(0, 1))
        return stream, replace(going, space=space)

    def _transform(self, index: int, block: Block, stream: Tensor, going: "_Pass") -> None:
        """Adds to the stream what attention found, and what the layer makes of it."""
        space, adapters = going.space, going.adapters
        block.output.add(space.attended, stream)
        _adapt(adapters, index, "output", space.attended, stream)
        _normalise(stream, block.mlp_norm, self._epsilon, out=space.normed)
        block.gate_up.write(space.normed, space.gate_up)
        _adapt(adapters, index, "gate_up", space.normed, space.gate_up)
        gate, up = space.gate_up.chunk(2, dim=1)
        inner = torch.mul(self._activation(gate), up, out=gate)
        block.down.add(inner, stream)
        _adapt(adapters, index, "down", inner, stream)

    def _normalise_heads(self, qkv: Tensor, query_norm: Tensor, key_norm: Tensor) -> None:
        heads = qkv.view(len(qkv), -1, self._heads.size)
        stop = self._heads.query + self._heads.key
        for part, norm in (
            (heads[:, : self._heads.query], query_norm),
            (heads[:, self._heads.query : stop], key_norm),
        ):
            part.copy_(_normalise(part, norm, self._epsilon, out=torch.empty_like(part)))


@dataclass(frozen=True)
class _Space:
    """What every layer writes over again: fresh memory costs more in page faults than it is worth."""

    normed: Tensor
    qkv: Tensor
    attended: Tensor
    gate_up: Tensor

    @classmethod
    def of(cls, stream: Tensor, heads: Heads, block: Block) -> "_Space":
        """For a stream [rows, hidden] through layers like this one."""
        rows, weight = len(stream), block.gate_up.weight
        return cls(
            weight.new_empty(stream.shape),
            weight.new_empty(rows, heads.width),
            weight.new_empty(rows, heads.query * heads.size),
            weight.new_empty(rows, len(weight)),
        )


@dataclass(frozen=True)
class _Pass:
    """A batch on its way through the layers."""

    batch: Batch
    adapters: Adapters
    cos: Tensor
    sin: Tensor
    space: _Space


def _block(layer: Any, dtype: torch.dtype) -> Block:
    attention, mlp = layer.self_attn, layer.mlp
    norms = (getattr(attention, name, None) for name in ("q_norm", "k_norm"))
    query_norm, key_norm = (None if norm is None else norm.weight for norm in norms)
    return Block(
        attention_norm=layer.input_layernorm.weight,
        qkv=fused([attention.q_proj, attention.k_proj, attention.v_proj], dtype),
        query_norm=query_norm,
        key_norm=key_norm,
        output=fused([attention.o_proj], dtype),
        mlp_norm=layer.post_attention_layernorm.weight,
        gate_up=fused([mlp.gate_proj, mlp.up_proj], dtype),
        down=fused([mlp.down_proj], dtype),
    )


def _normalise(stream: Tensor, weight: Tensor, epsilon: float, *, out: Tensor) -> Tensor:
    """RMS norm over the last axis, computed in the stream's dtype whatever that of ``out``."""
    length = torch.linalg.vector_norm(stream, dim=-1, keepdim=True)
    scale = length.square_().div_(stream.shape[-1]).add_(epsilon).rsqrt_()
    if out.dtype == stream.dtype:
        return torch.mul(stream, scale, out=out).mul_(weight)
    return out.copy_(torch.mul(stream, scale).mul_(weight))


def _adapt(adapters: Adapters, layer: int, projection: str, x: Tensor, out: Tensor) -> None:
    copies = len(adapters)
    for adapter, rows, written in zip(adapters, x.chunk(copies), out.chunk(copies), strict=True):
        if adapter is not None:
            adapter.add(layer, projection, rows, written)


def _scored(found: Tensor, batch: Batch) -> Tensor:
    if batch.kept:
        found = torch.cat((found, torch.stack([each.end for each in batch.kept], dim=1)), dim=1)
    return found[:, batch.scored]


def _looked_at(looking: Looking, span: slice) -> KeysValues:
    return looking.keys[:, 0, span].clone(), looking.values[:, 0, span].clone()


def _kept(found: Tensor, looked_at: Sequence[Sequence[KeysValues]], batch: Batch) -> list[KeptPrompt]:
    return [
        KeptPrompt(
            keys=torch.stack([layer[index][0] for layer in looked_at]),
            values=torch.stack([layer[index][1] for layer in looked_at]),
            end=found[:, end].clone(),
        )
        for index, (_, end) in enumerate(batch.keep)
    ]
