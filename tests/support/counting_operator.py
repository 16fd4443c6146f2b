"""An operator whose reconcile writes: it counts its looks at a run in a ConfigMap of its own.

``python counting_operator.py``, with the operator's settings; a look takes half a second and is
repeated every half second.
"""

import asyncio
from typing import Any

from selfie.errors import AlreadyExists
from selfie.kube.api import Api
from selfie.kube.objects import CONFIG_MAP
from selfie_operator.caches import Caches
from selfie_operator.keys import Check, Key, Reconcile
from selfie_operator.process import run
from selfie_operator.recorders import Recorder
from selfie_operator.settings import OperatorSettings

_LOOK_S = 0.5


def build(
    settings: OperatorSettings, api: Api, caches: Caches, recorder: Recorder, check: Check
) -> Reconcile:
    """``writes-<identity>`` holds the count."""

    async def count(key: Key) -> int:
        name = f"writes-{settings.identity}"
        found = await api.get(CONFIG_MAP, name, namespace=key.namespace)
        wanted: dict[str, Any] = found or {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"namespace": key.namespace, "name": name},
        }
        number = int((wanted.get("data") or {}).get("count", 0)) + 1
        wanted = wanted | {"data": {"count": str(number)}}
        try:
            await (api.replace(CONFIG_MAP, wanted) if found else api.create(CONFIG_MAP, wanted))
        except AlreadyExists:
            return number
        return number

    async def reconcile(key: Key) -> float | None:
        found = caches.run(key)
        if found is None:
            return None
        if await count(key) == 1:
            recorder.record(found, "Normal", "Seen", f"seen by {settings.identity}")
        await asyncio.sleep(_LOOK_S)
        return _LOOK_S

    return reconcile


if __name__ == "__main__":
    from pydantic_settings import CliApp

    run(CliApp.run(OperatorSettings), build)
