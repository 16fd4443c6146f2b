"""``python -m selfie_operator.trial FILE``: asks the scorer, if there is one, and tries a small run.

The run is applied, waited for, and removed. `helm test` starts this in a pod: it shows that a release
can do what it is for.
"""

import asyncio
import sys
from pathlib import Path

import yaml
from pydantic import Field
from pydantic_settings import BaseSettings, CliApp, CliPositionalArg, SettingsConfigDict

from selfie.client.connections import Tls
from selfie.client.scorers import AsyncScorer
from selfie.errors import FailedPrecondition, SelfieError
from selfie.kube.api import Api
from selfie.kube.client import ClientSettings, connect
from selfie.kube.objects import SELFIE_RUN, Object, name_of, uid_of
from selfie.kube.transport import Access
from selfie.runs.conditions import has_status
from selfie.runs.status import derived_message, derived_reason, status_from_object

QUESTION = "How do I keep bread fresh?"
RESPONSES = ("Put it in a paper bag.", "Bread may be preserved by means of a suitable receptacle.")


class TrialSettings(BaseSettings):
    """Which run is tried, and for how long."""

    model_config = SettingsConfigDict(env_prefix="SELFIE_", cli_kebab_case=True, extra="ignore")

    file: CliPositionalArg[Path] = Field(description="A SelfieRun as YAML.")
    namespace: str = Field(description="Where it is applied.")
    seconds: float = Field(1800, gt=0, description="Time in which it must be Complete.")
    look_seconds: float = Field(2, gt=0, description="Time between two looks at it.")
    kubeconfig: Path | None = Field(None, description="Way to the API server; else the pod's own account.")
    scorer: str = Field("", description="Address of a scorer that is asked too, such as dns:///scorer:50051.")
    scorer_token: Path = Field(
        Path("/var/run/secrets/selfie.dev/token"), description="File with the token that it is shown."
    )
    scorer_tls: bool = Field(False, description="Whether it speaks TLS.")
    scorer_authorities: Path | None = Field(
        None,
        description="PEM file of who signs its certificate; without it, the system's authorities.",
    )


async def asked(scorer: AsyncScorer) -> str:
    """What the scorer says of two responses, whichever of them comes first.

    Raises `FailedPrecondition` if the order makes a difference, and what the scorer raises.
    """
    first, second = RESPONSES
    forth, back = [await scorer.compare(QUESTION, *pair) for pair in ((first, second), (second, first))]
    if abs(forth.margin + back.margin) > forth.tie_band + back.tie_band:
        raise FailedPrecondition(
            "TrialContradicted",
            f"the scorer prefers a response by {forth.margin:g}, and the other by {back.margin:g} when it is "
            "named first",
        )
    return f"the scorer answers: p = {forth.probability:.3f}, {forth.preferred}"


async def tried(api: Api, run: Object, settings: TrialSettings) -> str:
    """What became of the run, which is gone afterwards.

    Raises `FailedPrecondition`, with the run's own words, if it fails or is not Complete in time.
    """
    made = await api.create(SELFIE_RUN, run, namespace=settings.namespace)
    try:
        async with asyncio.timeout(settings.seconds):
            return await _ended(api, made, settings)
    except TimeoutError:
        found = await api.get(SELFIE_RUN, name_of(made), namespace=settings.namespace)
        status = status_from_object((found or {}).get("status"))
        raise FailedPrecondition(
            "TrialNotComplete",
            f"{name_of(made)} is not Complete after {settings.seconds:g} s: "
            f"{derived_reason(status)}: {derived_message(status)}",
        ) from None
    finally:
        await api.delete(SELFIE_RUN, name_of(made), uid=uid_of(made), namespace=settings.namespace)


async def _ended(api: Api, made: Object, settings: TrialSettings) -> str:
    told = ""
    while True:
        try:
            found = await api.get(SELFIE_RUN, name_of(made), namespace=settings.namespace)
        except SelfieError as error:
            if not error.retryable:
                raise
            sys.stdout.write(f"{error}\n")
            await asyncio.sleep(settings.look_seconds)
            continue
        if found is None:
            raise FailedPrecondition("TrialGone", f"{name_of(made)} was deleted by somebody else")
        status = status_from_object(found.get("status"))
        line = f"{status.progress or '-'} {derived_reason(status)}"
        if line != told:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        told = line
        if has_status(status.conditions, "Failed", "True"):
            raise FailedPrecondition("TrialFailed", f"{name_of(made)}: {derived_message(status)}")
        if has_status(status.conditions, "Complete", "True"):
            return derived_message(status)
        await asyncio.sleep(settings.look_seconds)


async def _main(settings: TrialSettings) -> str:
    if settings.scorer:
        found = settings.scorer_authorities
        tls = settings.scorer_tls and Tls(authorities=found if found and found.exists() else None)
        async with AsyncScorer(settings.scorer, token=settings.scorer_token, tls=tls) as scorer:
            sys.stdout.write(f"{await asked(scorer)}\n")
    run: Object = yaml.safe_load(settings.file.read_text())
    async with connect(ClientSettings(access=Access(kubeconfig=settings.kubeconfig))) as api:
        return await tried(api, run, settings)


def main() -> None:
    """Tries the run; 1 if it did not become Complete."""
    try:
        told = asyncio.run(_main(CliApp.run(TrialSettings)))
    except SelfieError as error:
        sys.exit(f"trial: {error}")
    sys.stdout.write(f"{told}\n")


if __name__ == "__main__":
    main()
