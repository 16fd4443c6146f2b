"""What a kubelet says about a pod at each step of its life. Pure; strategic merge patches of a status."""

import datetime
from dataclasses import dataclass
from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Exit:
    """How a container ended; ``reason`` as the kubelet would say it, for instance ``OOMKilled``."""

    code: int = 0
    reason: str = ""

    @property
    def said(self) -> str:
        """The reason that is shown."""
        return self.reason or ("Completed" if self.code == 0 else "Error")


@dataclass(frozen=True)
class Starts:
    """How often containers were started again, and how they ended before that."""

    again: int = 0
    last: Exit | None = None


@dataclass(frozen=True)
class Waiting:
    """Why a pod does not start: ``Unschedulable`` keeps it off the node, all else its container waiting."""

    reason: str
    message: str = ""


def now() -> str:
    """As the API writes moments."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unschedulable(why: Waiting) -> Object:
    """No node takes it."""
    return {"conditions": [_condition("PodScheduled", holds=False, why=why)]}


def waiting(pod: Object, why: Waiting) -> Object:
    """On the node, and its container cannot be started: ``ImagePullBackOff``."""
    state = {"waiting": {"reason": why.reason, "message": why.message}}
    return {
        "phase": "Pending",
        "conditions": [_condition("PodScheduled", holds=True), *_readiness(ready=False)],
        "containerStatuses": _containers(pod, state, ready=False),
    }


def running(pod: Object, *, address: str, starts: Starts = Starts(), ready: bool = True) -> Object:
    """All containers run; those that run first have ended well."""
    moment = now()
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": moment}}
    return {
        "phase": "Running",
        "reason": None,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "hostIP": "127.0.0.1",
        "hostIPs": [{"ip": "127.0.0.1"}],
        "startTime": pod.get("status", {}).get("startTime") or moment,
        "conditions": [_condition("PodScheduled", holds=True), *_readiness(ready=ready)],
        "initContainerStatuses": _containers(pod, ended, ready=True, of="initContainers"),
        "containerStatuses": _containers(pod, {"running": {"startedAt": moment}}, ready=ready, starts=starts),
    }


def restarting(pod: Object, starts: Starts) -> Object:
    """Its containers have ended and will be started again."""
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    return {
        "phase": "Running",
        "conditions": list(_readiness(ready=False)),
        "containerStatuses": _containers(pod, state, ready=False, starts=starts),
    }


def finished(pod: Object, ended: Exit, *, starts: Starts = Starts()) -> Object:
    """Its containers have ended for good."""
    return {
        "phase": "Succeeded" if ended.code == 0 else "Failed",
        "conditions": list(_readiness(ready=False)),
        "containerStatuses": _containers(pod, _terminated(ended), ready=False, starts=starts),
    }


def evicted(pod: Object, ended: Exit, *, message: str, starts: Starts = Starts()) -> Object:
    """Put off the node by its kubelet, which was short of something."""
    why = Waiting("TerminationByKubelet", message)
    status = finished(pod, ended, starts=starts)
    status["conditions"].append(_condition("DisruptionTarget", holds=True, why=why))
    return {**status, "phase": "Failed", "reason": "Evicted", "message": message}


def node(name: str, *, labels: dict[str, str], port: int) -> Object:
    """A node with room for all, whose kubelet answers on this port of loopback."""
    room = {"cpu": "10000", "memory": "100Ti", "pods": "100000", "nvidia.com/gpu": "1000"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "fake"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        "status": {
            "capacity": room,
            "allocatable": room,
            "conditions": [{**ready, "lastHeartbeatTime": now(), "lastTransitionTime": now()}],
            "addresses": [
                {"type": "InternalIP", "address": "127.0.0.1"},
                {"type": "Hostname", "address": name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        },
    }


def _terminated(ended: Exit) -> Object:
    return {"terminated": {"exitCode": ended.code, "reason": ended.said, "finishedAt": now()}}


def _containers(
    pod: Object, state: Object, *, ready: bool, starts: Starts = Starts(), of: str = "containers"
) -> list[Object]:
    # A status replaces the whole list: what is left out is forgotten.
    return [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": container["image"],
            "containerID": f"fake://{pod['metadata']['uid']}/{container['name']}/{starts.again}",
            "ready": ready,
            "started": "running" in state,
            "restartCount": starts.again,
            "state": state,
            "lastState": _terminated(starts.last) if starts.last else {},
        }
        for container in pod["spec"].get(of, ())
    ]


def _readiness(*, ready: bool) -> tuple[Object, ...]:
    return (
        _condition("Initialized", holds=True),
        _condition("ContainersReady", holds=ready),
        _condition("Ready", holds=ready),
    )


def _condition(name: str, *, holds: bool, why: Waiting | None = None) -> Object:
    return {
        "type": name,
        "status": "True" if holds else "False",
        "reason": why.reason if why else None,
        "message": why.message if why else None,
        "lastTransitionTime": now(),
    }
