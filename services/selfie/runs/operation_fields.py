"""How a run is carried out: none of it changes what the run means, all of it may change at any time."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints

from selfie.runs.records import LabelKey, LabelValue, Many, Record

Cpu: TypeAlias = Annotated[str, StringConstraints(max_length=16, pattern=r"^[0-9]+(\.[0-9]{1,3}|m)?$")]
Memory: TypeAlias = Annotated[
    str, StringConstraints(max_length=16, pattern=r"^[0-9]+(\.[0-9]{1,3})?([KMGT]i|[kMGT])?$")
]
Seconds: TypeAlias = Annotated[int, Field(ge=1, le=31_536_000)]
Copies: TypeAlias = Annotated[int, Field(ge=1, le=64)]
GpuName: TypeAlias = Literal["shared", "separate"]


class ComponentResources(Record):
    """What one pod of a component asks for, and is limited to."""

    cpu: Cpu | None = Field(default=None, description='Processor cores, such as "4" or "500m".')
    memory: Memory | None = Field(default=None, description='Memory, such as "16Gi".')


class Resources(Record):
    """Overrides of the chart's values, by component."""

    engine: ComponentResources | None = Field(default=None, description="What serves the policy.")
    generation: ComponentResources | None = Field(default=None, description="The generation service.")
    scoring: ComponentResources | None = Field(default=None, description="The scoring workers.")
    filtering: ComponentResources | None = Field(default=None, description="The filtering service.")
    training: ComponentResources | None = Field(default=None, description="The trainer, one pod a node.")


class Replicas(Record):
    """Pods that work side by side on one batch."""

    engine: Copies = Field(default=1, description="Engines that serve the policy.")
    scoring: Copies = Field(default=1, description="Scoring workers.")


class Toleration(Record):
    """A taint of nodes that the run's pods accept."""

    key: LabelKey | None = Field(default=None, description="Key of the taint; without it, every key.")
    operator: Literal["Equal", "Exists"] = Field(default="Equal", description="How the value is compared.")
    value: LabelValue | None = Field(default=None, description="Value of the taint, for Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint; without it, every effect."
    )
    toleration_seconds: Seconds | None = Field(default=None, description="How long NoExecute is put up with.")


class Placement(Record):
    """Which nodes the run's pods may use."""

    node_selector: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] = Field(
        default_factory=dict, description="Labels that a node must have."
    )
    tolerations: Annotated[Many[Toleration], Field(max_length=16)] = Field(
        default=(), description="Taints that are accepted."
    )


class Deadlines(Record):
    """Time limits; suspended time and waiting for a queue or for capacity do not count."""

    run_seconds: Seconds | None = Field(default=None, description="Limit of the whole run.")
    stage_seconds: Seconds | None = Field(
        default=None, description="Limit of each stage of a round, over all its attempts."
    )


class Retention(Record):
    """What of a run's checkpoints is kept."""

    checkpoints: int = Field(
        default=2, ge=1, le=100, description="Newest checkpoints that are kept, beside the best round's."
    )


class OperationFields(Record):
    """The part of a specification that may change at any time; it acts at the next pod."""

    resources: Resources = Field(
        default_factory=Resources, description="Processors and memory, by component."
    )
    replicas: Replicas = Field(default_factory=Replicas, description="Pods by component.")
    micro_batch: int = Field(
        default=4,
        ge=1,
        le=1024,
        description="Most pairs that a device takes at once; does not change the result.",
    )
    nodes: int = Field(default=1, ge=1, le=64, description="Nodes that train together.")
    gpus_per_node: int = Field(
        default=0, ge=0, le=16, description="Accelerators of each; 0 trains on processors."
    )
    placement: Placement = Field(default_factory=Placement, description="Which nodes may be used.")
    queue: LabelValue | None = Field(
        default=None, description="Kueue's local queue that admits the training jobs."
    )
    deadlines: Deadlines = Field(default_factory=Deadlines, description="Time limits.")
    retries: int = Field(
        default=3, ge=0, le=20, description="Further attempts at a step whose failure may pass."
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = Field(
        default=None,
        description="When the finished resource is deleted; its artifacts stay. Without it, never.",
    )
    retention: Retention = Field(default_factory=Retention, description="What is kept in the store.")
    gpu: GpuName = Field(
        default="shared",
        description="shared: engine, scoring and trainer take turns on one device; "
        "separate: each has its own.",
    )
    checkpoint_seconds: int = Field(
        default=600,
        ge=1,
        le=86400,
        description="Time between a trainer's checkpoints, which a restart goes on from.",
    )
    suspend: bool = Field(
        default=False, description="Release everything, keep what is done; false goes on from there."
    )
    cancel: bool = Field(default=False, description="End the run for good; artifacts and status stay.")
