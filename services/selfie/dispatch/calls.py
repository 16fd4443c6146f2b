"""What a step is started with, whatever service it goes to."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID, uuid5

from selfie.runs.lineage import Input
from selfie.runs.programs import random_seed
from selfie.runs.spec import SelfieRun
from selfie.runs.steps import Step, request_id
from selfie.v1 import artifacts_pb2


@dataclass(frozen=True)
class StepCall:
    """One attempt at one step, with its inputs pinned by role."""

    run: SelfieRun
    run_uri: str
    run_uid: str
    step: Step
    attempt: int
    inputs: Mapping[str, Input]

    @property
    def request_id(self) -> str:
        """UUID under which the attempt is started, always the same one."""
        return request_id(self.run_uid, self.step, self.attempt)

    @property
    def ahead_id(self) -> str:
        """UUID of what is done ahead of the step."""
        return str(uuid5(UUID(self.request_id), "ahead"))

    def attempt_message(self) -> artifacts_pb2.Attempt:
        """The attempt as services are told it."""
        return artifacts_pb2.Attempt(
            run_uri=self.run_uri, step=self.step.path, number=self.attempt, run_uid=self.run_uid
        )

    def manifest(self, role: str) -> artifacts_pb2.ManifestRef:
        """The manifest that the input of this role is named by."""
        entry = self.inputs[role]
        return artifacts_pb2.ManifestRef(
            path=f"{entry.source.step}/manifest.json", sha256=entry.manifest_sha256
        )

    def weights(self, role: str) -> artifacts_pb2.Weights:
        """The weights in this role."""
        entry = self.inputs[role]
        return artifacts_pb2.Weights(
            step=entry.source.step, group=entry.source.group, digest=entry.weights_digest or ""
        )

    def random_seed(self, *, bits: int = 63) -> int:
        """The step's own seed; attempts at one step share it, so that a repeated step is the same."""
        return random_seed(self.run.spec, self.step, bits=bits)
