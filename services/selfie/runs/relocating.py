"""The URIs that a run reads from, one by one: relative ones are relative to where the run came from."""

from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import quote

from selfie.runs.spec import RunSpec, SelfieRun

Relocate: TypeAlias = Callable[[str, str], str]
"""From the path of a field, for messages, and the URI in it, to the URI that is meant."""


def with_sources(run: SelfieRun, relocate: Relocate) -> SelfieRun:
    """The run with the URI that ``relocate`` gives in place of each model's and data set's."""
    spec = run.spec
    changes: dict[str, object] = {**_models(spec, relocate), **_labelled(spec, relocate)}
    changes["rounds"] = tuple(
        entry.model_copy(
            update={
                "prompts": entry.prompts.model_copy(
                    update={
                        "dataset": relocate(f"spec.rounds[{index}].prompts.dataset", entry.prompts.dataset)
                    }
                )
            }
        )
        for index, entry in enumerate(spec.rounds)
    )
    if spec.evaluation.prompts:
        prompts = spec.evaluation.prompts
        dataset = relocate("spec.evaluation.prompts.dataset", prompts.dataset)
        moved = prompts.model_copy(update={"dataset": dataset})
        changes["evaluation"] = spec.evaluation.model_copy(update={"prompts": moved})
    return run.model_copy(update={"spec": spec.model_copy(update=changes)})


def below(root: str, path: str) -> str:
    """The place of a relative path below a root, which is a URI."""
    # Written as in a URI of a file, as it is for a run on a laptop.
    return f"{root.rstrip('/')}/{quote(path) if root.startswith('file://') else path}"


def _models(spec: RunSpec, relocate: Relocate) -> dict[str, object]:
    model = spec.model.model_copy(update={"uri": relocate("spec.model.uri", spec.model.uri)})
    if spec.reference_model is None:
        return {"model": model}
    uri = relocate("spec.referenceModel.uri", spec.reference_model.uri)
    return {"model": model, "reference_model": spec.reference_model.model_copy(update={"uri": uri})}


def _labelled(spec: RunSpec, relocate: Relocate) -> dict[str, object]:
    if spec.seed is None:
        return {}
    update = {"dataset": relocate("spec.seed.dataset", spec.seed.dataset)}
    if spec.seed.heldout:
        update["heldout"] = relocate("spec.seed.heldout", spec.seed.heldout)
    return {"seed": spec.seed.model_copy(update=update)}
