"""An operator of a simulated release killed at chosen moments, and what its runs leave in the end."""

from typing import Any

from selfie.kube.objects import name_of, uid_of
from selfie_operator.keys import Key
from simulated_release import Killed, SimulatedRelease


class Killer:
    """Kills the operator at the moments that are chosen, or once at every moment.

    A moment is before or after a write, wherever it goes: the API server, the store, a service.
    ``always`` tells moments apart by the write, and by what the run has published and says of itself.
    """

    def __init__(self, release: SimulatedRelease, *moments: int, always: bool = False) -> None:
        self.moments, self.always = set(moments), always
        self.count = self.kills = 0
        self._release = release
        self._passed: set[tuple[str, str]] = set()
        release.hooks.before = lambda what: self._here(f"before {what}")
        release.hooks.after = lambda what: self._here(f"after {what}")

    def _here(self, moment: str) -> None:
        self.count += 1
        kind = (moment, self._release.standing())
        is_first = kind not in self._passed
        self._passed.add(kind)
        if self.count in self.moments or (self.always and is_first):
            self.kills += 1
            raise Killed(moment)


def end_state(release: SimulatedRelease, key: Key) -> dict[str, Any]:
    """All that a run leaves, without times: its status, its files, what is left of it on the cluster."""
    status = release.status_of(key).model_dump(mode="json")
    timeless = {name: value for name, value in status.items() if not name.endswith(("_time", "_since"))}
    for entry in timeless["conditions"]:
        del entry["last_transition_time"]
    for name in ("paused_seconds", "stage_paused_seconds"):
        del timeless[name]
    uid = uid_of(release.run(key))
    return {
        "status": timeless,
        "files": {path: data for path, data in release.files.items() if path.endswith("manifest.json")},
        "objects": sorted(name_of(found) for found in release.api.objects.values()),
        "begun": {name[1:]: count for name, count in release.services.begun.items() if name[0] == uid},
        "published": {name[1]: count for name, count in release.services.published.items()},
    }
