"""Memory of each kind of process, in bytes: what it holds exactly, what passes through it roughly.

All weights are float32. Activations are those that PyTorch keeps of a Llama's layers for the backward
pass: inputs of the norms, of attention with its keys and values repeated, of the matrices, of the gate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from selfie.runs.estimates.data import EVALUATION, Case
from selfie.runs.estimates.scenarios import Scenario
from selfie.runs.estimates.shapes import BYTES, ModelShape
from selfie.runs.estimates.work import ENGINE_ROWS, ENGINE_TOKENS, self_made, training_pairs
from selfie.runs.lineage import sources_of
from selfie.runs.resolving import pairs_at_once
from selfie.runs.steps import Step

ProcessKind: TypeAlias = Literal["engine", "scoring", "trainer", "program"]

SCORED_TOKENS = 2048
"""Tokens that the scorer computes at once; a test compares."""

PREFILL_TOKENS = 8192
"""Positions of one prefill pass of the engine; a test compares."""

TILE = 512 * 4096
"""Logits that the trainer holds at a time, of each of the tensors that it needs; a test compares."""

SCORED_TILE = 512 * 1024
"""Those of the scorer; a test compares."""

LIBRARIES: Final[Mapping[ProcessKind, float]] = {
    "engine": 5e8,
    "scoring": 5e8,
    "trainer": 9e8,
    "program": 4e8,
}
"""What a process has beside its weights: interpreter, PyTorch, and what its allocator keeps."""

SERVICES: Final = 5e8
"""The run's light processes on one machine, together: the planner and the services without weights."""


@dataclass(frozen=True)
class Footprint:
    """Bytes that a process has ``held`` throughout, and those ``passing``, its libraries among them."""

    held: float
    passing: float

    def peak(self, scenario: Scenario, remainder: float = 0.0) -> float:
        """Bytes at most, with what a measurement found beyond this arithmetic; never less than is held."""
        return max(self.held + scenario.activations * self.passing + remainder, self.held)


def engine_footprint(shape: ModelShape, *, rows: float, tokens: float, prefill: float) -> Footprint:
    """``rows`` responses with the keys and values of ``tokens`` tokens each, after ``prefill`` positions."""
    cache = 2 * shape.layers * shape.kv_size * rows * tokens
    sampling = 4 * shape.vocabulary * rows
    passing = BYTES * (cache + sampling + _of_a_layer(shape) * prefill)
    return Footprint(shape.weight_bytes, LIBRARIES["engine"] + passing)


def scoring_footprint(policy: ModelShape, reference: ModelShape, *, tokens: float) -> Footprint:
    """Policy and reference on a batch of ``tokens`` packed tokens."""
    passing = BYTES * (3 * SCORED_TILE + (_of_a_layer(policy) + 8 * policy.hidden) * tokens)
    return Footprint(policy.weight_bytes + reference.weight_bytes, LIBRARIES["scoring"] + passing)


def trainer_footprint(
    shape: ModelShape, *, tokens: float, rank: int = 0, copies: int = 2, checkpointed: bool = False
) -> Footprint:
    """``copies`` of the weights; gradients and both moments of AdamW of what is trained; activations.

    What is trained are adapters of ``rank``, or with 0 all weights; ``tokens`` are computed at once.
    """
    adapters = shape.adapter_parameters(rank)
    trained = adapters or shape.parameters
    held = copies * shape.weight_bytes + BYTES * (adapters + 3 * trained)
    kept = shape.layers * _of_a_layer(shape)
    kept = shape.layers * shape.hidden + _of_a_layer(shape) if checkpointed else kept
    return Footprint(held, LIBRARIES["trainer"] + BYTES * (kept * tokens + TILE))


def footprint_of(case: Case, step: Step, kind: ProcessKind, scenario: Scenario) -> Footprint:
    """What a process of ``kind`` takes in ``step``."""
    match kind:
        case "engine":
            return _engine(case, step, scenario)
        case "scoring":
            return scoring_footprint(case.policy, case.reference, tokens=SCORED_TOKENS)
        case "trainer":
            return _trainer(case, step, scenario)
        case "program":
            # An evaluator embeds by the initial model; the other programs hold no weights.
            held = case.policy.weight_bytes if step.stage == "evaluate" else 0.0
            return Footprint(held, LIBRARIES["program"])


def _engine(case: Case, step: Step, scenario: Scenario) -> Footprint:
    # What it once took for decoding it keeps, so over an evaluation it has what its samples took.
    idle = step.stage == "evaluate" and EVALUATION not in case.data.prompts
    if step.stage == "serve" or idle:
        return engine_footprint(case.policy, rows=0, tokens=0, prefill=0)
    prompts, spec = case.data.prompts_of(step), case.spec
    each = spec.evaluation.samples if step.stage == "evaluate" else spec.generation.samples_per_prompt
    tokens = prompts.prompt.longest + self_made(case, scenario).longest
    rows = min(ENGINE_ROWS, prompts.rows * each, max(1, ENGINE_TOKENS // tokens))
    prefill = min(PREFILL_TOKENS, max(1, rows / each) * prompts.prompt.longest)
    return engine_footprint(case.policy, rows=rows, tokens=tokens, prefill=prefill)


def _trainer(case: Case, step: Step, scenario: Scenario) -> Footprint:
    spec = case.spec
    sources = sources_of(spec, step, ())
    return trainer_footprint(
        case.policy,
        tokens=2 * pairs_at_once(spec) * training_pairs(case, step, scenario).longest_row(),
        rank=spec.training.lora.rank if spec.training.lora else 0,
        # To be compared with the scorer, a policy that training does not start from is loaded beside.
        copies=2 if sources["policy"] == sources["reference"] else 3,
        checkpointed=bool(spec.gpus_per_node),
    )


def _of_a_layer(shape: ModelShape) -> float:
    """Numbers that one layer makes of a token and keeps until they are used."""
    return 6 * shape.hidden + 5 * shape.attention_size + 2 * shape.kv_size + 4 * shape.intermediate
