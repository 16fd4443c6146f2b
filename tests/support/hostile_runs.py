"""SelfieRuns that somebody might write to get more than a run, by what they try and where.

``by`` says who refuses: the API server alone by the CRD (`API`), the typed model (`MODEL`), the
operator once it puts places into the cluster's (`OPERATOR`). Every row is refused by one of them,
and so before a child of the run exists; the tests hold each row to exactly those that are named.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

API, MODEL, OPERATOR = "API server", "typed model", "operator"
BOTH = frozenset({API, MODEL})

ABSENT = object()
"""A value that takes the field away."""

BASE: Mapping[str, Any] = {
    "apiVersion": "selfie.dev/v1alpha1",
    "kind": "SelfieRun",
    "metadata": {"name": "toy"},
    "spec": {
        "model": {"uri": "hf://org/model"},
        "seed": {"dataset": "seed.jsonl", "heldout": "heldout.jsonl", "size": 8},
        "rounds": [{"prompts": {"dataset": "a.jsonl", "count": 8}}],
        "evaluation": {"prompts": {"dataset": "e.jsonl"}},
    },
}
SOURCES_ROOT = "file:///usr/share/selfie/examples"
ARTIFACT_ROOTS = ("file:///var/lib/selfie/artifacts",)


@dataclass(frozen=True)
class Hostile:
    """``BASE`` with ``value`` at ``place``, and with ``more`` where one change alone would do no harm."""

    category: str
    place: str
    value: Any
    by: frozenset[str]
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        shown = "absent" if self.value is ABSENT else repr(self.value)
        text = f"{self.category}: {self.place} = {shown}"
        return text.encode("unicode_escape").decode()[:110]

    def run(self) -> dict[str, Any]:
        """The object as it would be sent."""
        return with_changes(BASE, {**self.more, self.place: self.value})


def with_changes(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with the value of each path, such as ``spec.rounds.0.prompts.from``, put in its place."""
    changed = deepcopy(dict(base))
    for path, value in changes.items():
        *way, last = path.split(".")
        place: Any = changed
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
        if isinstance(place, list):
            place[int(last) :] = [] if value is ABSENT else [value]
        elif value is ABSENT:
            del place[last]
        else:
            place[last] = value
    return changed


def _rows(category: str, by: frozenset[str], *rows: tuple[Any, ...]) -> list[Hostile]:
    return [Hostile(category, row[0], row[1], by, row[2] if len(row) > 2 else {}) for row in rows]


_API = frozenset({API})
_MODEL = frozenset({MODEL})
_OPERATOR = frozenset({OPERATOR})
_PLACED = frozenset({API, OPERATOR})

HOSTILE = [
    *_rows(
        "climbs out of its folder",
        _PLACED,
        ("spec.model.uri", "../../../../proc/self/environ"),
        ("spec.model.uri", "file:///usr/share/selfie/examples/../../../../root"),
        ("spec.referenceModel.uri", "models/../../secrets"),
        ("spec.seed.dataset", "../../../var/run/secrets/token.jsonl"),
        ("spec.seed.heldout", "file:///usr/share/selfie/examples/%2e%2e/%2E%2E/etc/x.jsonl"),
        ("spec.rounds.0.prompts.dataset", "file:///usr/share/selfie/examples/..%2f..%2Fetc/x.jsonl"),
        ("spec.evaluation.prompts.dataset", ".."),
        ("spec.artifacts.uri", "file:///var/lib/selfie/artifacts/../../../etc"),
        ("spec.resumeFrom", "file:///var/lib/selfie/artifacts/%2e%2e/%2e%2e"),
        ("spec.artifacts.uri", "s3://bucket/runs/../../others"),
    ),
    *_rows(
        "climbs out of its folder",
        _API,
        ("spec.model.revision", "../../refs/main"),
        ("spec.seed.dataset", "hf://datasets/org/name@main/../../other/data.jsonl"),
        ("spec.seed.dataset", "s3://bucket/data/../others/data.jsonl"),
    ),
    *_rows(
        "climbs out of its folder",
        BOTH,
        ("spec.model.secretRef", {"name": "../other/secret"}),
        ("spec.artifacts.secretRef", {"name": "other/secret"}),
        ("metadata.name", "../toy"),
    ),
    *_rows(
        "reads what the pod can read",
        _PLACED,
        ("spec.model.uri", "/proc/self"),
        ("spec.seed.dataset", "/var/run/secrets/kubernetes.io/serviceaccount/token"),
        ("spec.seed.heldout", "file://etc/passwd"),
        ("spec.model.uri", "file://localhost/etc"),
    ),
    *_rows(
        "reads what the pod can read",
        _OPERATOR,
        ("spec.seed.dataset", "file:///proc/self/environ"),
        ("spec.seed.heldout", "file:///var/run/secrets/selfie.dev/token"),
        ("spec.rounds.0.prompts.dataset", "file:///etc/selfie/pods.yaml"),
        ("spec.model.uri", "file:///"),
        ("spec.model.uri", "file:///usr/share/selfie/examples-of-others"),
        ("spec.referenceModel.uri", "file:///root/.cache"),
        ("spec.artifacts.uri", "file:///"),
        ("spec.artifacts.uri", "file:///tmp"),
        ("spec.resumeFrom", "file:///home/other/runs"),
        ("spec.resumeFrom", "s3://bucket-of-others/runs/toy"),
        ("spec.artifacts.uri", "s3://bucket-of-others/runs"),
        ("spec.artifacts.secretRef", {"name": "credentials-of-others"}),
    ),
    *_rows(
        "asks the network",
        BOTH,
        ("spec.model.uri", "http://169.254.169.254/latest/meta-data"),
        ("spec.seed.dataset", "https://kubernetes.default.svc/api/v1/secrets"),
        ("spec.seed.heldout", "ftp://host/data.jsonl"),
        ("spec.rounds.0.prompts.dataset", "memory://data.jsonl"),
        ("spec.evaluation.prompts.dataset", "simplecache::http://host/data.jsonl"),
        ("spec.evaluation.prompts.dataset", "github://org:repo@/data.jsonl"),
        ("spec.artifacts.uri", "http://host/runs"),
        ("spec.resumeFrom", "sftp://host/runs"),
        ("spec.seed.dataset", "builtin://smollm2-135m-instruct"),
        ("spec.seed.dataset", "hf://org/model"),
    ),
    *_rows(
        "shows a password",
        BOTH,
        ("spec.model.uri", "s3://key:secret@bucket/model"),
        ("spec.seed.dataset", "hf://user:token@datasets/org/data.jsonl"),
        ("spec.artifacts.uri", "gs://key:secret@bucket/runs"),
        ("spec.resumeFrom", "s3://key:se@cret@bucket/runs/toy"),
    ),
    *_rows(
        "loads what runs when it is loaded",
        BOTH,
        ("spec.model.uri", "file:///usr/share/selfie/examples/pytorch_model.bin"),
        ("spec.model.uri", "s3://bucket/model/weights.PT"),
        ("spec.model.uri", "s3://bucket/consolidated.00.pth"),
        ("spec.model.uri", "models/last.ckpt"),
        ("spec.referenceModel.uri", "s3://bucket/model.pkl"),
        ("spec.seed.dataset", "data.pickle"),
        ("spec.seed.heldout", "hf://datasets/org/name@main/name.py"),
        ("spec.rounds.0.prompts.dataset", "s3://bucket/prompts.joblib"),
        ("spec.model.trustRemoteCode", True),
        ("spec.model.allowPickle", True),
        ("spec.generation.trustRemoteCode", True),
        ("spec.training.trustRemoteCode", True),
        ("spec.evaluation.evaluator", "my_package.my_judge"),
    ),
    *_rows(
        "injects into labels, names and selectors",
        BOTH,
        ("spec.queue", "team-a\nselfie.dev/run: other"),
        ("spec.queue", "team-a,selfie.dev/run=other"),
        ("spec.queue", "../team-b"),
        ("spec.placement.nodeSelector", {"gpu": "a,selfie.dev/run=other"}),
        ("spec.placement.nodeSelector", {"gpu\nhostNetwork": "yes"}),
        ("spec.placement.nodeSelector", {"": "yes"}),
        ("spec.placement.nodeSelector", {"a/b/c": "yes"}),
        ("spec.placement.tolerations", [{"key": "a b"}]),
        ("spec.placement.tolerations", [{"key": "gpu", "value": "a\nb"}]),
        ("spec.placement.tolerations", [{"key": "gpu", "effect": "Evict"}]),
        ("spec.placement.tolerations", [{"key": "gpu", "operator": "NotIn"}]),
        ("metadata.labels", {"selfie.dev/run uid": "x"}),
        ("metadata.labels", {"team": "a\nb"}),
        ("metadata.name", "toy.other"),
        ("metadata.name", "toy-"),
        ("metadata.name", "0toy"),
        ("metadata.name", "Toy"),
    ),
    *_rows(
        "goes to another namespace",
        _API,
        ("metadata.namespace", "kube-system"),
        ("metadata.namespace", "another-team"),
    ),
    *_rows(
        "goes to another namespace",
        BOTH,
        ("spec.namespace", "kube-system"),
        ("spec.model.secretRef", {"name": "token", "namespace": "kube-system"}),
        ("spec.artifacts.secretRef", {"name": "token", "namespace": "kube-system"}),
        ("spec.model.secretRef", {"name": "kube-system/token"}),
    ),
    *_rows(
        "takes another service account",
        BOTH,
        ("spec.serviceAccountName", "selfie-operator"),
        ("spec.training.serviceAccountName", "selfie-operator"),
        ("spec.resources.training.serviceAccount", "selfie-operator"),
        ("spec.placement.serviceAccountName", "default"),
        ("spec.automountServiceAccountToken", True),
    ),
    *_rows(
        "smuggles a part of a pod",
        BOTH,
        ("spec.template", {"spec": {"hostNetwork": True}}),
        ("spec.podTemplate", {"spec": {"containers": [{"name": "a", "image": "evil"}]}}),
        ("spec.image", "evil"),
        ("spec.training.image", "evil"),
        ("spec.training.command", ["sh", "-c", "id"]),
        ("spec.training.env", [{"name": "LD_PRELOAD", "value": "/data/x.so"}]),
        ("spec.training.securityContext", {"privileged": True}),
        ("spec.resources.training.volumes", [{"name": "host", "hostPath": {"path": "/"}}]),
        ("spec.resources.engine.hostPID", True),
        ("spec.placement.affinity", {}),
        ("spec.placement.nodeName", "control-plane"),
        ("spec.placement.hostNetwork", True),
        ("spec.placement.priorityClassName", "system-node-critical"),
        ("spec.placement.runtimeClassName", "privileged"),
        ("spec.generation.address", "evil.example:50051"),
        ("spec.generation.engineArguments", ["--disable-custom-kernels"]),
        ("spec.rounds.0.script", "id"),
        ("spec.model.secretRef", {"name": "token", "mountPath": "/etc"}),
        ("spec.resources.training.cpu", "4; id"),
        ("spec.resources.training.memory", "16Gi\nprivileged: true"),
    ),
    *_rows(
        "is too large",
        BOTH,
        ("metadata.name", "a" * 41),
        ("spec.model.uri", "hf://" + "a" * 1020),
        ("spec.model.revision", "a" * 129),
        ("spec.rounds", [{"prompts": {"dataset": "a.jsonl", "count": 8}}] * 101),
        ("spec.rounds", []),
        ("spec.rounds.0.prompts.count", 2**31),
        ("spec.rounds.0.epochs", 1001),
        ("spec.seed.size", -1),
        ("spec.randomSeed", 2**31),
        ("spec.randomSeed", 10**30),
        ("spec.generation.samplesPerPrompt", 65),
        ("spec.generation.maxNewTokens", 32769),
        ("spec.training.batch", 65537),
        ("spec.training.lora", {"rank": 1025}),
        ("spec.nodes", 65),
        ("spec.gpusPerNode", 17),
        ("spec.replicas.engine", 1000),
        ("spec.retries", 21),
        ("spec.microBatch", 0),
        ("spec.checkpointSeconds", 0),
        ("spec.deadlines.runSeconds", 31_536_001),
        ("spec.queue", "q" * 64),
        ("spec.placement.nodeSelector", {f"label-{n}": "yes" for n in range(17)}),
        ("spec.placement.nodeSelector", {"a" * 64: "yes"}),
        ("spec.placement.tolerations", [{"key": "gpu"}] * 17),
        ("spec.filter.window", 65537),
        ("spec.resources.training.cpu", "1" * 17),
    ),
    *_rows("is too large", _API, ("metadata.annotations", {"note": "a" * 262_144})),
    *_rows("is too large", BOTH, ("metadata.annotations", {"note": "a" * 262_145})),
    *_rows(
        "is no decimal, or one out of range",
        BOTH,
        ("spec.training.beta", 0.1),
        ("spec.training.beta", "0"),
        ("spec.training.beta", "0e9"),
        ("spec.training.beta", "100.1"),
        ("spec.training.beta", "1e99"),
        ("spec.training.beta", "-0.1"),
        ("spec.training.beta", "NaN"),
        ("spec.training.beta", "Infinity"),
        ("spec.training.beta", "0x1p-4"),
        ("spec.training.beta", "0,1"),
        ("spec.training.beta", " 0.1"),
        ("spec.training.beta", "0.1\n"),
        ("spec.training.beta", ""),
        ("spec.training.beta", "١"),
        ("spec.training.beta", "0." + "1" * 23),
        ("spec.training.learningRate", "1.0001"),
        ("spec.filter.smoothing", "0.51"),
        ("spec.generation.topP", "0"),
        ("spec.generation.temperature", "10.01"),
        ("spec.rounds.0.lambda", "16.1"),
        ("spec.scoring.lambda", "1e9999"),
    ),
    *_rows(
        "is of another kind",
        BOTH,
        ("spec", ABSENT),
        ("spec.model", ABSENT),
        ("spec.model", "hf://org/model"),
        ("spec.rounds", {"0": {}}),
        ("spec.seed", ["seed.jsonl"]),
        ("spec.suspend", "true"),
        ("spec.nodes", "2"),
        ("spec.nodes", 1.5),
        ("spec.gpu", "none"),
        ("spec.rounds", [None]),
        ("spec.model.uri", None),
        ("spec.scoring.judge", "llm"),
        ("spec.generation.engine", "vllm"),
    ),
    *_rows(
        "hides in its letters",
        BOTH,
        ("spec.model.uri", "hf://org/mo del"),
        ("spec.model.uri", "hf://org/model\u00a0"),
        ("spec.model.uri", "hf://org/\u202eledom"),
        ("spec.model.uri", "hf://org/mo\u200bdel"),
        ("spec.seed.dataset", "seed.jsonl\x00.txt"),
        ("spec.seed.dataset", "seed\x1b[2J.jsonl"),
        ("spec.model.revision", "main\u2028"),
    ),
    *_rows(
        "could only fail later",
        BOTH,
        ("spec.seed", ABSENT, {"spec.evaluation": ABSENT}),
        ("spec.referenceModel", {"uri": "hf://org/model"}, {"spec.seed": ABSENT}),
        ("spec.seed.heldoutSize", 4, {"spec.seed.heldout": ABSENT}),
        ("spec.evaluation.samples", 4, {"spec.evaluation.prompts": ABSENT}),
        ("spec.scoring", {"reference": "none", "lambda": "0.5"}),
        ("spec.filter.window", 64, {"spec.training.threshold": "parity"}),
        ("spec.nodes", 3),
        ("spec.gpusPerNode", 16, {"spec.nodes": 64}),
        ("spec.evaluation.evaluator", "readingEase", {"spec.evaluation.prompts": ABSENT}),
        ("spec.evaluation.evaluatorPairs", 100),
        (
            "spec.evaluation.evaluator",
            "bradleyTerry",
            {"spec.seed": ABSENT, "spec.referenceModel": {"uri": "hf://org/base"}},
        ),
        ("spec.evaluation.evaluator", "bradleyTerry", {"spec.seed.heldout": ABSENT}),
        ("spec.evaluation.evaluator", "bradleyTerry", {"spec.seed.size": 0}),
        ("spec.evaluation.gates.maxAccuracyDrop", "0.1", {"spec.seed.heldout": ABSENT}),
        ("spec.evaluation.gates.maxLengthRatio", "2", {"spec.evaluation.prompts": ABSENT}),
        ("spec.evaluation.gates.maxDivergence", "2", {"spec.evaluation.prompts": ABSENT}),
        ("spec.evaluation.gates.maxDuplicateShare", "0.5", {"spec.evaluation.prompts": ABSENT}),
        ("spec.evaluation.gates.minFinishedShare", "0.5", {"spec.evaluation.prompts": ABSENT}),
        ("spec.evaluation.gates.onBreach", "stop"),
        (
            "spec.evaluation.gates.onBreach",
            "fallBack",
            {"spec.seed.heldout": ABSENT, "spec.evaluation.gates.maxDivergence": "1"},
        ),
        (
            "spec.training.pairs",
            "seed",
            {"spec.seed": ABSENT, "spec.referenceModel": {"uri": "hf://org/base"}},
        ),
        ("spec.training.pairs", "seed", {"spec.rounds.0.prompts.count": 0}),
        ("spec.placement.tolerations", [{"key": "gpu", "operator": "Exists", "value": "a"}]),
        ("spec.placement.tolerations", [{"value": "a"}]),
    ),
]
"""Rows by what they try."""


@dataclass(frozen=True)
class Breach:
    """A change of a run that exists: ``first`` makes it from ``BASE``, ``change`` is what is tried then."""

    place: str
    value: Any
    by: frozenset[str] = BOTH
    first: Mapping[str, Any] = field(default_factory=dict)
    ended: bool = False

    @property
    def label(self) -> str:
        shown = "absent" if self.value is ABSENT else repr(self.value)
        return f"{self.place} becomes {shown}{' after the end' if self.ended else ''}"[:110]

    def before(self) -> dict[str, Any]:
        return with_changes(BASE, self.first)

    def after(self) -> dict[str, Any]:
        return with_changes(self.before(), {self.place: self.value})


_BASE_MODEL = {"uri": "hf://org/base"}
_SECOND_ROUND = {"prompts": {"dataset": "b.jsonl", "count": 8}}

BREACHES = [
    Breach("spec.model.uri", "hf://org/another"),
    Breach("spec.model.revision", "main"),
    Breach("spec.model.secretRef", {"name": "hub"}),
    Breach("spec.referenceModel", _BASE_MODEL),
    Breach("spec.referenceModel", ABSENT, first={"spec.referenceModel": _BASE_MODEL}),
    Breach("spec.referenceModel.uri", "hf://org/third", first={"spec.referenceModel": _BASE_MODEL}),
    Breach("spec.randomSeed", 43),
    Breach("spec.seed", ABSENT, first={"spec.referenceModel": _BASE_MODEL}),
    Breach("spec.seed", {"dataset": "x"}, first={"spec.referenceModel": _BASE_MODEL, "spec.seed": ABSENT}),
    Breach("spec.seed.epochs", 4),
    Breach("spec.seed.heldout", "others.jsonl"),
    Breach("spec.rounds.0.prompts.from", 8),
    Breach("spec.rounds.0", _SECOND_ROUND),
    Breach("spec.rounds.0.lambda", "0.25"),
    Breach("spec.rounds.1", ABSENT, first={"spec.rounds.1": _SECOND_ROUND}),
    Breach("spec.rounds.1", _SECOND_ROUND, ended=True),
    Breach("spec.generation.temperature", "0.8"),
    Breach("spec.generation.engine", "tgi"),
    Breach("spec.scoring.judge", "longest"),
    Breach("spec.filter.action", "drop"),
    Breach("spec.training.lora", {}),
    Breach("spec.training.beta", "0.2"),
    Breach("spec.training.beta", "0.10"),
    Breach("spec.evaluation.samples", 2),
    Breach("spec.evaluation.gates.maxDivergence", "1"),
    Breach("spec.artifacts.uri", "s3://bucket/others"),
    Breach("spec.artifacts.secretRef", {"name": "others"}),
    Breach("spec.resumeFrom", "s3://bucket/runs/other"),
    Breach("spec.resumeFrom", ABSENT, first={"spec.resumeFrom": "s3://bucket/runs/other"}),
    # The typed model sees that these are the round's defaults written out; the CRD has no such sight.
    Breach("spec.rounds.0.epochs", 1, by=_API),
    Breach("spec.rounds.0.learningRate", "5e-7", by=_API),
]
"""Changes of what cannot change."""

LEGAL = [
    Breach("spec.suspend", True, by=frozenset()),
    Breach("spec.cancel", True, by=frozenset()),
    Breach("spec.rounds.1", _SECOND_ROUND, by=frozenset()),
    Breach("spec.nodes", 2, by=frozenset()),
    Breach("spec.microBatch", 8, by=frozenset()),
    Breach("spec.replicas.scoring", 3, by=frozenset()),
    Breach("spec.resources.training.memory", "16Gi", by=frozenset()),
    Breach("spec.placement.nodeSelector", {"example.com/gpu": "a100"}, by=frozenset()),
    Breach("spec.placement.tolerations", [{"operator": "Exists"}], by=frozenset()),
    Breach("spec.queue", "team-a", by=frozenset()),
    Breach("spec.deadlines.stageSeconds", 60, by=frozenset()),
    Breach("spec.retention.checkpoints", 3, by=frozenset()),
    Breach("spec.gpu", "separate", by=frozenset()),
    Breach("spec.ttlSecondsAfterFinished", 0, by=frozenset(), ended=True),
    Breach("spec.randomSeed", 42, by=frozenset()),
    Breach("metadata.labels", {"team": "a"}, by=frozenset()),
]
"""Changes that must go on being possible."""
