"""The `Api` over the official Kubernetes client: raw requests, plain objects, our own errors."""

import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from selfie.errors import FailedPrecondition, NotFound, SelfieError, Unavailable
from selfie.kube.answers import CONFLICT, failure_of, names_its_object
from selfie.kube.api import Change, Keep, Listing, whole
from selfie.kube.limits import RateLimit
from selfie.kube.logs import log_tail
from selfie.kube.objects import POD, Kind, Object, name_of, namespace_of, uid_of
from selfie.kube.requests import Asked, selector
from selfie.kube.transport import Access, Check, Transport, open_transport

OnAnswer = Callable[[str, str, str], None]
"""Told of each request: verb, resource, and HTTP code, or ``error`` if no answer came."""

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"

_DELETION = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
_KNOWN_CHANGES = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"}


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """How the API server is asked; times in seconds.

    A server sends a bookmark every minute, so ``silence_s`` without a byte is a dead connection. It does
    so for kinds that never change, too, if its etcd tells it of its progress, as kubeadm's does.
    """

    access: Access = field(default_factory=Access)
    agent: str = "selfie"
    per_second: float = 20
    burst: int = 40
    request_s: float = 30
    silence_s: float = 70
    watch_s: int = 290
    page: int = 500


def _nothing(_verb: str, _resource: str, _code: str) -> None:
    return None


def _always() -> None:
    return None


@asynccontextmanager
async def connect(
    settings: ClientSettings, *, on_answer: OnAnswer = _nothing, before_write: Check = _always
) -> AsyncIterator["KubeApi"]:
    """An `Api`; ``before_write`` is called right before each write is sent, and may refuse it by raising.

    `FailedPrecondition` if there is neither a kubeconfig nor a pod's service account.
    """
    opened = open_transport(
        settings.access,
        agent=settings.agent,
        before_write=before_write,
        request_s=settings.request_s,
        silence_s=settings.silence_s,
    )
    async with opened as transport:
        yield KubeApi(transport, settings, on_answer)


class KubeApi:
    """An API server behind a rate limit; see `selfie.kube.api.Api`."""

    def __init__(self, transport: Transport, settings: ClientSettings, on_answer: OnAnswer) -> None:
        self._transport = transport
        self._settings = settings
        self._on_answer = on_answer
        self._limit = RateLimit(settings.per_second, settings.burst)

    async def get(self, kind: Kind, name: str, *, namespace: str | None = None) -> Object | None:
        asked = Asked("get", kind, namespace, name)
        async with self._answer(asked) as answer:
            if answer.status == 404 and names_its_object(await answer.read()):
                return None
            return await _object(asked, answer)

    async def list(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        keep: Keep = whole,
    ) -> Listing:
        asked = Asked("list", kind, namespace)
        query: dict[str, str | int | None] = {
            "labelSelector": selector(labels),
            "limit": self._settings.page,
        }
        items: list[Object] = []
        while True:
            page = await self._ask(asked, query=query)
            # Items of a list say neither, unlike the same objects when they are read alone.
            said = {"apiVersion": kind.api_version, "kind": kind.kind}
            items += [keep(said | item) for item in page.get("items") or ()]
            query["continue"] = page["metadata"].get("continue") or None
            if query["continue"] is None:
                return Listing(items, page["metadata"]["resourceVersion"])

    async def watch(
        self,
        kind: Kind,
        *,
        resource_version: str,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Change]:
        asked = Asked("watch", kind, namespace)
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "labelSelector": selector(labels),
            # Not all at once: watches that began together end apart.
            "timeoutSeconds": self._settings.watch_s - random.randrange(max(self._settings.watch_s // 5, 1)),
        }
        async with self._answer(asked, query=query, stream=True) as answer:
            if answer.status >= 400:
                raise failure_of(asked, answer.status, answer.headers, await answer.read())
            while line := await _line(asked, answer):
                change = _change(asked, line)
                if change is not None:
                    yield change

    async def create(self, kind: Kind, wanted: Object, *, namespace: str | None = None) -> Object:
        namespace = namespace or namespace_of(wanted)
        return await self._ask(Asked("create", kind, namespace), body=wanted)

    async def replace(self, kind: Kind, wanted: Object, *, subresource: str | None = None) -> Object:
        asked = Asked("update", kind, namespace_of(wanted), name_of(wanted), subresource)
        return await self._ask(asked, body=wanted)

    async def patch(
        self,
        kind: Kind,
        name: str,
        change: Object,
        *,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        asked = Asked("patch", kind, namespace, name, subresource)
        return await self._ask(asked, body=change, content_type=MERGE_PATCH)

    async def delete(self, kind: Kind, name: str, *, uid: str, namespace: str | None = None) -> bool:
        asked = Asked("delete", kind, namespace, name)
        try:
            await self._ask(asked, body={**_DELETION, "preconditions": {"uid": uid}})
        except NotFound:
            return False
        except FailedPrecondition as error:
            if error.reason != CONFLICT:
                raise
            found = await self.get(kind, name, namespace=namespace)
            if found is not None and uid_of(found) == uid:
                raise
            return False
        return True

    async def log(
        self, pod: str, *, namespace: str, container: str | None = None, lines: int, previous: bool = False
    ) -> str:
        asked = Asked("get", POD, namespace, pod, "log")
        query = {"container": container, "tailLines": lines, "previous": "true" if previous else None}
        async with self._answer(asked, query=query) as answer:
            return await log_tail(asked, answer)

    async def _ask(
        self,
        asked: Asked,
        *,
        query: Mapping[str, str | int | None] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
    ) -> Object:
        async with self._answer(asked, query=query, body=body, content_type=content_type) as answer:
            return await _object(asked, answer)

    @asynccontextmanager
    async def _answer(
        self,
        asked: Asked,
        *,
        query: Mapping[str, str | int | None] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
        stream: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        await self._limit.take()
        sent = self._transport.send(
            asked, query=query or {}, body=body, content_type=content_type, stream=stream
        )
        code = "error"
        try:
            async with sent as answer:
                code = str(answer.status)
                self._on_answer(asked.verb, asked.resource, code)
                yield answer
        except SelfieError:
            if code == "error":
                self._on_answer(asked.verb, asked.resource, code)
            raise


async def _object(asked: Asked, answer: aiohttp.ClientResponse) -> Object:
    body = await answer.read()
    if answer.status >= 400:
        raise failure_of(asked, answer.status, answer.headers, body)
    return _parsed(asked, body)


async def _line(asked: Asked, answer: aiohttp.ClientResponse) -> bytes:
    try:
        return await answer.content.readline()
    except ValueError as error:
        raise Unavailable(f"{asked}: a change is too long to be read") from error


def _change(asked: Asked, line: bytes) -> Change | None:
    event = _parsed(asked, line)
    if event["type"] == "ERROR":
        status = event["object"]
        raise failure_of(asked, int(status.get("code", 500)), {}, json.dumps(status).encode())
    return Change(event["type"], event["object"]) if event["type"] in _KNOWN_CHANGES else None


def _parsed(asked: Asked, body: bytes) -> Object:
    try:
        found: Object = json.loads(body)
    except ValueError as error:
        raise Unavailable(f"{asked}: the answer is cut off or no JSON") from error
    return found
