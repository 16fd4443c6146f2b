"""What the processors at hand multiply faster than float32, and products that make use of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from selfie.scoring.precision import Machine, Products

_AMPERE = 8


def machine_of(device: torch.device) -> Machine:
    """By the instructions of the processor, or the generation of the GPU."""
    if device.type == "cuda":
        recent = torch.cuda.get_device_capability(device)[0] >= _AMPERE
        return Machine(tf32=recent, bfloat16=recent)
    # Without such instructions bfloat16 is converted for every product, and slower than float32.
    found = torch.cpu.get_capabilities()
    return Machine(bfloat16=bool(found.get("amx_bf16") or found.get("avx512_bf16")))


@contextmanager
def reduced(products: Products, device: torch.device) -> Iterator[None]:
    """Lets float32 products be computed from factors of fewer bits; for one thread at a time.

    On processors these are products of factors that were rounded before, see `mm_rounded`.
    """
    if device.type == "cuda":
        settings: Any = torch.backends.cuda.matmul
        reduction = "tf32" if products == "tf32" else None
    else:
        # Newer than what torch tells of its own types.
        onednn: Any = torch.backends.mkldnn
        settings, reduction = onednn.matmul, "bf16" if products == "bfloat16" else None
    before = settings.fp32_precision
    settings.fp32_precision = reduction or before
    try:
        yield
    finally:
        settings.fp32_precision = before


def product_weight(weight: Tensor) -> Tensor:
    """A weight as `mm_rounded` wants it."""
    rounded = weight.bfloat16()
    return rounded if weight.device.type == "cuda" else rounded.float()


def mm_rounded(x: Tensor, weight: Tensor, *, out: Tensor) -> None:
    """``x @ weight`` of factors rounded to bfloat16, added up and written in float32.

    Processors have no product of bfloat16 into float32, but one of float32 that may round its factors,
    which changes nothing where they are rounded already.
    """
    if x.device.type == "cuda":
        out.copy_(torch.mm(x.bfloat16(), weight, out_dtype=torch.float32))
    else:
        torch.mm(x.bfloat16().float(), weight, out=out)
