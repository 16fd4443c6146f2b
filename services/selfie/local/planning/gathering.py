"""From a specification to its plan: what is at hand here, how fast this machine is, and what follows."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from selfie.local.planning.at_hand import ModelAtHand, model_at_hand
from selfie.local.planning.sizes import ROUGH_COUNTER, Counter, counter_of, sizes_of
from selfie.models.chat import ChatTokenizer
from selfie.runs.estimates.advice import Machine, Outlook, advice_on
from selfie.runs.estimates.assumptions import Grounds, assumptions_of
from selfie.runs.estimates.data import Case
from selfie.runs.estimates.estimating import estimate_run
from selfie.runs.estimates.measured import Measured, findings, measured_pace
from selfie.runs.estimates.plans import RunPlan
from selfie.runs.estimates.rates import Device, Rates, accelerator, assumed_rates, processors
from selfie.runs.estimates.trials import Trials, trials_for
from selfie.runs.spec import SelfieRun

Try = Callable[[Trials, Path], Measured]
"""Makes trials with the weights in a directory."""

QUICK = "nothing was measured, as asked by --quick"
ELSEWHERE = "nothing was measured: the run asks for accelerators, which this machine does not stand for"
NO_WEIGHTS = "nothing was measured: the model's weights are not on this machine"
NO_LIBRARIES = "nothing was measured: PyTorch and TRL are not installed here"


def plan_of(run: SelfieRun, *, machine: Machine, cache_root: Path, attempt: Try | None) -> RunPlan:
    """The plan of a run; without ``attempt`` nothing is measured.

    `InvalidInput` for data that is here and cannot be used, and for a model of which nothing is known.
    """
    spec = run.spec
    model = model_at_hand(spec.model, cache_root, field="spec.model")
    reference = model
    if spec.reference_model is not None:
        reference = model_at_hand(spec.reference_model, cache_root, field="spec.referenceModel")
    case = Case(spec, model.shape, reference.shape, sizes_of(spec, _counter(model), cache_root))
    device = accelerator() if spec.gpus_per_node else processors(machine.cores)
    assumed = _assumed(case, device)
    measured = _measured(case, model, machine, assumed, attempt)
    pace = measured_pace(case.policy, assumed, measured)
    estimate = estimate_run(case, pace)
    grounds = Grounds(
        model.basis,
        reference.basis if spec.reference_model else None,
        _rates_basis(measured, device, assumed),
    )
    return RunPlan(
        name=run.metadata.name,
        estimate=estimate,
        on_gpus=bool(spec.gpus_per_node),
        findings=tuple(findings(case.policy, measured, pace)),
        notes=measured.notes,
        assumptions=assumptions_of(case, pace, grounds),
        advice=advice_on(Outlook(case, estimate, None if spec.gpus_per_node else machine)),
    )


def _counter(model: ModelAtHand) -> Counter:
    if model.directory is None or not model.has_tokenizer or find_spec("transformers") is None:
        return ROUGH_COUNTER
    return counter_of(ChatTokenizer(model.directory))


def _assumed(case: Case, device: Device) -> Rates:
    lora = case.spec.training.lora
    trained = case.policy.adapter_parameters(lora.rank) if lora else case.policy.parameters
    return assumed_rates(case.policy, device, trained=trained)


def _measured(
    case: Case, model: ModelAtHand, machine: Machine, assumed: Rates, attempt: Try | None
) -> Measured:
    """What trials found, or why there were none."""
    if attempt is None:
        return Measured(notes=(QUICK,))
    if case.spec.gpus_per_node:
        return Measured(notes=(ELSEWHERE,))
    if model.directory is None or not model.has_weights:
        return Measured(notes=(NO_WEIGHTS,))
    if find_spec("trl") is None:
        return Measured(notes=(NO_LIBRARIES,))
    return attempt(trials_for(case, assumed, memory=machine.memory), model.directory)


def _rates_basis(measured: Measured, device: Device, assumed: Rates) -> str:
    kinds = {"scoring": measured.scoring, "sampling": measured.sampling, "training": measured.training}
    found = [kind for kind, time in kinds.items() if time is not None]
    if len(found) == len(kinds):
        return "measured here, with the run's own model"
    rest = f"assumed of {device.name}: {assumed.scoring / 1e12:.2g} TFLOP/s scoring"
    return f"{', '.join(found)} measured here, the rest follows from it" if found else rest
