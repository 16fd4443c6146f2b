"""The SelfieRun as one look at it has it, and the only way in which its status is written.

Whatever has an effect is done only for the run as it really is: either its status was just
written, which fails unless the run is the one that was read, or it was just read once more.
"""

from typing import Protocol

from selfie.errors import FailedPrecondition, NotFound
from selfie.kube.api import Api
from selfie.kube.objects import SELFIE_RUN, Object, is_going, uid_of, version_of
from selfie.runs.status import RunStatus
from selfie_operator.reconciling import measures
from selfie_operator.reconciling.statuses import status_object
from selfie_operator.reconciling.subject import Subject
from selfie_operator.reconciling.transitions import EventType, transitions

CONFLICT = "Conflict"


class Recorder(Protocol):
    """Tells people of transitions."""

    def record(
        self, run: Object, event_type: EventType, reason: str, note: str, *, last: bool = False
    ) -> None:
        """One Event about the run; ``last``: the one that tells how it has ended."""
        ...


class OutdatedError(Exception):
    """The run is no longer as it was read; nothing that was decided of it may be done."""


class Record:
    """``subject`` is the run as it was last read or written in this look."""

    def __init__(self, api: Api, recorder: Recorder, subject: Subject) -> None:
        self._api = api
        self._recorder = recorder
        self._is_confirmed = False
        self.subject = subject

    @property
    def status(self) -> RunStatus:
        """Its status as it is written."""
        return self.subject.status

    async def write(self, status: RunStatus) -> None:
        """Writes the status, unless it is there already; `OutdatedError` if the run has changed."""
        found = self.subject.found
        wanted = status_object(found.get("status"), status)
        if wanted == found.get("status"):
            return
        try:
            written = await self._api.replace(SELFIE_RUN, {**found, "status": wanted}, subresource="status")
        except (FailedPrecondition, NotFound) as error:
            raise OutdatedError(str(error)) from error
        before, self.subject = self.status, Subject.of(written)
        self._is_confirmed = True
        measures.count(before, self.status)
        for entry in transitions(before, self.status):
            self._recorder.record(written, entry.type, entry.reason, entry.note, last=entry.last)

    async def confirm(self) -> None:
        """Returns if the run is as it was read; else `OutdatedError`."""
        if self._is_confirmed:
            return
        subject = self.subject
        live = await self._api.get(SELFIE_RUN, subject.name, namespace=subject.namespace)
        if live is None or uid_of(live) != subject.uid or is_going(live):
            raise OutdatedError(f"{subject.name} is gone")
        if version_of(live) != version_of(subject.found):
            raise OutdatedError(f"{subject.name} has changed")
        self._is_confirmed = True

    async def delete(self) -> None:
        """Deletes the run itself, once it is as it was read."""
        await self.confirm()
        subject = self.subject
        await self._api.delete(SELFIE_RUN, subject.name, uid=subject.uid, namespace=subject.namespace)
