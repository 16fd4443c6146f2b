"""What the chart says about the pods that runs get: one file for operator and training controller."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from selfie.errors import InvalidInput
from selfie.runs.method_fields import EngineName


class _Setting(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class ContainerSettings(_Setting):
    """What the chart says about the pods of one component; lists and maps are Kubernetes' own objects."""

    image: str = Field(min_length=1, description="Image, best by digest.")
    command: tuple[str, ...] = Field(
        (), description="What comes before the module's arguments; see `python`."
    )
    image_pull_policy: str = Field("IfNotPresent", description="Kubernetes' imagePullPolicy.")
    image_pull_secrets: tuple[dict[str, Any], ...] = Field((), description="References to pull secrets.")
    service_account: str = Field(min_length=1, description="Account of the pods.")
    automount_token: bool = Field(False, description="Whether pods get a token for the API server.")
    resources: dict[str, dict[str, Any]] = Field({}, description="Kubernetes' requests and limits.")
    accelerator: str = Field("nvidia.com/gpu", description="Name of the resource that is one GPU.")
    env: tuple[dict[str, Any], ...] = Field((), description="Variables, with references to secrets.")
    volumes: tuple[dict[str, Any], ...] = Field((), description="Volumes: the store, projected tokens.")
    volume_mounts: tuple[dict[str, Any], ...] = Field((), description="Where the container sees them.")
    node_selector: dict[str, str] = Field({}, description="Labels that a node must have.")
    tolerations: tuple[dict[str, Any], ...] = Field((), description="Taints that are accepted.")
    runtime_class_name: str | None = Field(None, description="Kubernetes' runtimeClassName.")
    priority_class_name: str | None = Field(None, description="Kubernetes' priorityClassName.")
    labels: dict[str, str] = Field({}, description="Further labels of the pods.")
    annotations: dict[str, str] = Field({}, description="Annotations of the pods.")
    grace_seconds: Annotated[int, Field(ge=1)] = Field(60, description="Time to end in after SIGTERM.")


class ServerSettings(ContainerSettings):
    """What the chart says about the pods of an engine behind HTTP, whose image is not Selfie's."""

    command: tuple[str, ...] = Field((), description="Without it, what the image says.")
    arguments: tuple[str, ...] = Field(
        min_length=1, description="Arguments; {weights} in them is the directory of the policy's weights."
    )
    port: int = Field(8080, ge=1, le=65535, description="Port that the arguments make it listen on.")
    health_path: str = Field("/health", pattern="^/", description="Path that answers 200 once it is ready.")
    accelerators: int = Field(1, ge=0, description="Accelerators of one pod.")
    shared_memory: str = Field("", description="Size of /dev/shm, such as 1Gi; without it, the runtime's.")
    writable: tuple[str, ...] = Field((), description="Directories besides /tmp that it writes to.")
    start_seconds: int = Field(1800, ge=10, description="Time for loading and warming up.")
    surge: bool = Field(
        False, description="Start a round's pods beside those of the round before, where nodes have room."
    )
    in_place: bool = Field(
        False,
        description="Keep the pods over rounds, and move them to a round's weights where they stand.",
    )
    pod_security_context: dict[str, Any] = Field(
        {}, description="In place of the restricted one, for images that can't run under it."
    )
    security_context: dict[str, Any] = Field({}, description="The same of the container.")


class PodSettings(_Setting):
    """One file for operator and training controller: pods of each component that they make."""

    engine: ContainerSettings
    scoring: ContainerSettings
    trainer: ContainerSettings
    tgi: ServerSettings | None = Field(None, description="Text Generation Inference, if it is offered.")
    openai: ServerSettings | None = Field(None, description="A server of OpenAI's API, if it is offered.")

    def server(self, engine: EngineName) -> ServerSettings | None:
        """The server that samples; None where it is Selfie's own engine, or is not offered."""
        return {"tgi": self.tgi, "openai": self.openai}.get(engine)

    @property
    def engines(self) -> tuple[EngineName, ...]:
        """Kinds of engine that a run may ask for."""
        kinds: tuple[EngineName, ...] = ("tgi", "openai")
        return ("embedded", *(kind for kind in kinds if self.server(kind) is not None))

    def begun_with(self, fixed: "PodSettings") -> "PodSettings":
        """These, with the images and sizes that a run was started with; see `begun_with`."""
        return PodSettings(
            engine=begun_with(self.engine, fixed.engine),
            scoring=begun_with(self.scoring, fixed.scoring),
            trainer=begun_with(self.trainer, fixed.trainer),
            tgi=_server_begun_with(self.tgi, fixed.tgi),
            openai=_server_begun_with(self.openai, fixed.openai),
        )

    @classmethod
    def read(cls, path: Path) -> "PodSettings":
        """From the YAML file that the chart mounts; `InvalidInput` names what is wrong in it."""
        try:
            return cls.model_validate(yaml.safe_load(path.read_text()))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise InvalidInput(f"{path}: {where}", first["msg"], "mend the chart's values") from error


Settings = TypeVar("Settings", bound=ContainerSettings)


def begun_with(own: Settings, fixed: ContainerSettings) -> Settings:
    """The release's ``own`` settings, with the image and the size that a run was started with.

    Those stand in a ConfigMap, which others may be able to make. So no account, volume or command is
    taken from there, and no image of another repository.
    """
    if _repository(fixed.image) != _repository(own.image):
        return own
    return own.model_copy(update={"image": fixed.image, "resources": fixed.resources})


def _server_begun_with(own: ServerSettings | None, fixed: ServerSettings | None) -> ServerSettings | None:
    return own if own is None or fixed is None else begun_with(own, fixed)


def _repository(image: str) -> str:
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
