"""An update of a task: only what was given, from a revision, and never twice (section "Update Task")."""

import difflib
from collections.abc import Mapping
from typing import Any, cast

import attrs

from gotsurge_async import codec
from gotsurge_async.api.endpoints import PLATFORM_TASKS_GET, PLATFORM_TASKS_UPDATE
from gotsurge_async.calls.session import Session
from gotsurge_async.errors import CallError, InvalidData, OutcomeUnknown, Problem, Rejected, UsageError, VersionConflict
from gotsurge_async.models.tasks import Task, TaskChanges, TaskFields
from gotsurge_async.resources.reading import read_task

_TRIES = 3
_NO_STATE = (401, 403, 404, 413, 429)
"""Refusals that say nothing about the revision."""
_STALE = (409, 412)
"""Statuses of a refusal that mean the revision, unless the task says otherwise."""

_DISALLOWED = {
    "items": "the items of a task cannot be changed",
    "attachments": "attachments cannot be changed",
    "epod": "a task is not completed by an update",
    "driver": "a driver is not assigned by an update",
    "current_status": "a task is not completed by an update: gs.tasks.cancel cancels it",
    "statuses": "a task is not completed by an update",
    "currency": 'is given with its amount: price=Money.of("48.50", "SGD")',
}


async def update_task(session: Session, task: Task | str, version_rev: str | None, changes: Mapping[str, Any]) -> Task:
    """Send the changes, and when it is not known what became of them, find out."""
    update = _Update(
        session=session,
        task_id=task if isinstance(task, str) else task.id,
        revision=_revision(task, version_rev),
        wanted=_checked(changes),
    )
    return await update.run()


def _revision(task: Task | str, version_rev: str | None) -> str:
    if version_rev:
        return version_rev
    if isinstance(task, str):
        raise UsageError("an update needs the revision it is made from: give the task as it was read, or version_rev")
    if not task.version_rev:
        raise UsageError("the service did not name the revision of this task: an update needs version_rev")
    return task.version_rev


def _checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes as plain values.

    Raises:
        InvalidData: fields that cannot be updated, or amounts in two currencies or none.
    """
    problems = [Problem(name, _why_not(name)) for name in changes if name not in TaskChanges.__annotations__]
    if problems:
        raise InvalidData("", problems)
    if not changes:
        raise UsageError("an update changes at least one field")
    given = {name: value for name, value in changes.items() if value is not None}
    settled = TaskFields(**given)  # as strict as an order: money is Money, a time has its zone
    plain = codec.unstructure_changes(
        cast("TaskChanges", {name: getattr(settled, name) if name in given else None for name in changes})
    )
    if plain.get("currency") == "":
        raise InvalidData("", [Problem("currency", "an amount without a currency would be set to 0")])
    return plain


def _why_not(name: str) -> str:
    if name in _DISALLOWED:
        return _DISALLOWED[name]
    near = difflib.get_close_matches(name, TaskChanges.__annotations__, n=1)
    return f"is no field of an update{f': did you mean {near[0]}?' if near else ''}"


@attrs.frozen(kw_only=True)
class _Update:
    session: Session
    task_id: str
    revision: str
    wanted: Mapping[str, Any]

    async def run(self) -> Task:
        lost = False
        for left in reversed(range(_TRIES)):
            try:
                return await read_task(
                    self.session,
                    PLATFORM_TASKS_UPDATE,
                    self.task_id,
                    body={**self.wanted, "version_rev": self.revision},
                )
            except OutcomeUnknown as error:
                lost = True
                now = await self._read(error)
                if self._is_done(now):
                    return now
                if self._has_moved(now):
                    raise self._conflict(
                        error, now, "the answer was lost, and the task does not show the changes"
                    ) from None
                if not left:
                    raise
            except Rejected as error:
                if error.status in _NO_STATE:
                    raise
                now = await self._read(error)
                if lost and self._is_done(now):
                    return now
                if self._has_moved(now) or (now.version_rev is None and error.status in _STALE):
                    raise self._conflict(error, now, "the task has changed since it was read") from None
                raise
        raise AssertionError("the last try returns or raises")

    async def _read(self, error: CallError) -> Task:
        try:
            return await read_task(self.session, PLATFORM_TASKS_GET, self.task_id)
        except CallError:  # what became of the update is the news, not that the task cannot be read
            raise error from None

    def _has_moved(self, now: Task) -> bool:
        return now.version_rev is not None and now.version_rev != self.revision

    def _is_done(self, now: Task) -> bool:
        """Whether the task shows the changes, as another revision than before where revisions are told."""
        return now.version_rev != self.revision and shows(codec.unstructure(now), self.wanted)

    def _conflict(self, error: CallError, now: Task, message: str) -> VersionConflict:
        return VersionConflict(
            f"{message}: the changes were made from revision {self.revision}, the newest is "
            f"{now.version_rev or 'not told'}; read the task and decide again",
            task=now if now.version_rev else None,
            operation=error.operation,
            status=error.status,
            service_message=error.service_message,
            request_id=error.request_id,
        )


def shows(found: Any, wanted: Any) -> bool:
    """Whether plain values hold what is wanted; they may hold more. What is to be cleared is empty."""
    if wanted is None:
        return not found
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(shows(found.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(shows(mine, value) for mine, value in zip(found, wanted, strict=True))
        )
    return bool(found == wanted)
