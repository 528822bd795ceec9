"""Orders that were changed after their keys had been pushed: told, never taken for sent, and brought over if asked."""

import asyncio
import shlex
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import msgspec

from gotsurge_async import codec
from gotsurge_async.bulk.ledger import PUSHED, IllegalTransition, Ledger, OrderState, Rival, Run
from gotsurge_async.bulk.ledger.errors import unreadable
from gotsurge_async.bulk.send.claims import whole
from gotsurge_async.calls.create import stops_all
from gotsurge_async.calls.stream import Batcher, chunks_of
from gotsurge_async.client import GotSurge
from gotsurge_async.errors import (
    CallError,
    GotSurgeError,
    InvalidData,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    SignInNeeded,
    UsageError,
)
from gotsurge_async.models.tasks import Order, TaskChanges
from gotsurge_async.resources.platform.updates import shows

_NOT_COMPARED = frozenset({"client_time_utc"})
"""When a table was made is no part of what is delivered."""
_UNCERTAIN = "gotsurge_async:uncertain"
"""In the text of an order whose task is being changed: the fields that may be as before or as wanted."""
_BLOCK = 500


def differing(mine: bytes, theirs: bytes, which: str = "") -> list[str]:
    """The fields in which two orders differ, dotted, such as ``to_address.zip_code``; lists are one field.

    Args:
        which: names them, should one be damaged in the ledger.

    Raises:
        LedgerUnusable: one of them is no JSON any more.
    """
    try:
        trees = msgspec.json.decode(mine), msgspec.json.decode(theirs)
    except ValueError as error:
        raise unreadable(which) from error
    uncertain = trees[1].pop(_UNCERTAIN, ()) if isinstance(trees[1], dict) else ()
    fields = [*_differing(*trees, ""), *uncertain]
    return [field for field in dict.fromkeys(fields) if field not in _NOT_COMPARED]


def _differing(mine: Any, theirs: Any, path: str) -> Iterator[str]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for name in sorted(mine.keys() | theirs.keys()):
            yield from _differing(mine.get(name), theirs.get(name), f"{path}.{name}" if path else name)
    elif mine != theirs:
        yield path


async def note_changes(run: Run) -> int:
    """Say of the changed orders of an admitted run in what they differ; returns how many there are.

    The admission compares texts. Those that say the same, but for when they were made, are not changed after all.
    """
    found = 0
    async for block in _rivals(run):
        fields = await asyncio.to_thread(lambda rivals: [_fields(rival) for rival in rivals], block)
        changed = [(rival.id, _told(rival.other_run, each)) for rival, each in zip(block, fields, strict=True) if each]
        await run.note_changed(changed)
        await run.note_unchanged([rival.id for rival, each in zip(block, fields, strict=True) if not each])
        found += len(changed)
    return found


async def _rivals(run: Run) -> AsyncIterator[list[Rival]]:
    after = -1
    while block := await run.rivals((OrderState.CHANGED,), after):
        yield block
        after = block[-1].id


def _fields(rival: Rival) -> list[str]:
    which = f"order {rival.id} or {rival.other_id}, key {rival.key}"
    return differing(rival.payload, rival.other_payload, which)


def _told(run_id: str, fields: Sequence[str]) -> str:
    return f"pushed by run {run_id}, and differs from what was sent: {', '.join(fields)}"


@attrs.frozen(kw_only=True)
class Known:
    """What a ledger knows of the orders of a file, before they are pushed.

    Attributes:
        already_pushed: orders whose keys are created or in doubt; of these ``in_doubt`` are in doubt.
        changed: those of them that differ from what was sent, ``(line, key, what is told)``; the first thousand.
        changed_count: how many there are.
    """

    already_pushed: int = 0
    in_doubt: int = 0
    changed: tuple[tuple[int, str, str], ...] = ()
    changed_count: int = 0


_KEPT = 1000


async def compare(run: Run, ledger: Ledger, environment: str) -> Known:
    """Hold the orders of a run, in whatever ledger it is, against what another ledger has of their keys."""
    already = in_doubt = changed_count = 0
    changed: list[tuple[int, str, str]] = []
    async for block in chunks_of(run.rows(), _BLOCK):
        known = await ledger.pushed(environment, [row.key for row in block])
        for row in block:
            other_run, state, payload = known.get(row.key, ("", OrderState.PENDING, b""))
            if state not in PUSHED:
                continue
            already += 1
            in_doubt += state is not OrderState.CREATED
            which = f"key {row.key} of run {other_run}"
            fields = differing(row.payload, payload, which) if payload != row.payload else []
            if fields:
                changed_count += 1
                if len(changed) < _KEPT:
                    changed.append((row.line, row.key, _told(other_run, fields)))
    return Known(already_pushed=already, in_doubt=in_doubt, changed=tuple(changed), changed_count=changed_count)


@attrs.frozen(kw_only=True)
class Replaced:
    """What became of changed orders.

    Attributes:
        replaced: tasks that are now as the orders say.
        left: tasks that are as they were; each order tells why.
        unknown: tasks of which nobody knows whether they were changed.
        stopped_by: the error that a person must act on before the rest can be changed.
    """

    replaced: int = 0
    left: int = 0
    unknown: int = 0
    stopped_by: GotSurgeError | None = None


async def replace_changed(gs: GotSurge, run: Run, *, concurrency: int) -> Replaced:
    """Change the tasks of changed orders into what the orders say now (section "Update Task"; platform partners).

    A task that has ended is left alone, and so are items, which no update can change: the order says what to do.
    While nobody knows whether a task was changed, whatever is pushed under its key differs from it, until an update of
    all its fields has gone through.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    replaced = left = unknown = 0
    stopped_by: GotSurgeError | None = None

    async def change(rivals: Sequence[Rival]) -> None:
        nonlocal replaced, left, unknown, stopped_by
        for rival in rivals:
            try:
                told = await _replace(gs, run, rival)
            except OutcomeUnknown as error:
                unknown += 1
                told = f"nobody knows whether its task was changed: {error}"
            except (CallError, SignInNeeded, UsageError, InvalidData) as error:
                left += 1
                told = f"not changed: {error}"
                # Not even after all tries: the next one would meet the same.
                if stops_all(error) or isinstance(error, NotSent | RateLimited):
                    stopped_by = error
                    batcher.stop()
            else:
                left += bool(told)
                replaced += not told
            if told:
                told = f"{_told(rival.other_run, _fields(rival))}; {told}"
                await whole(run.note_changed([(rival.id, told)]))

    async def each() -> AsyncIterator[Rival]:
        async for block in _rivals(run):
            for rival in block:
                yield rival

    batcher: Batcher[Rival, None] = Batcher(each(), change, size=1, concurrency=concurrency)
    async with batcher as batches:
        async for _ in batches:
            pass
    return Replaced(replaced=replaced, left=left, unknown=unknown, stopped_by=stopped_by)


async def _replace(gs: GotSurge, run: Run, rival: Rival) -> str:
    """Change one task; says why not, or "" when it is done."""
    if rival.other_state is not OrderState.CREATED or not rival.task_id:
        return f"its order is {rival.other_state} there: reconcile that run first"
    fields = dict.fromkeys(path.partition(".")[0] for path in _fields(rival))
    fixed = [name for name in fields if not _can_be_changed(name)]
    if fixed:
        return f"{', '.join(fixed)} cannot be changed in a task: {_undo(rival)}, and push this again"
    try:
        task = await gs.platform.tasks.get(rival.task_id)
    except OutcomeUnknown as error:
        return f"its task could not be read, and was not changed: {error}"
    if task.current_status is not None and task.current_status.is_terminal:
        return f"its task is {task.current_status}: push this under another tracking id if it is still wanted"
    changes = _values(codec.decode(rival.payload, Order), fields)
    await whole(
        run.note_text(rival, _certain(rival.other_payload, fields), f"its task may have been changed by run {run.id}")
    )
    try:
        changed = await gs.platform.tasks.update(task, **changes)
    except OutcomeUnknown:
        raise
    except GotSurgeError:
        await whole(run.note_text(rival, rival.other_payload, ""))
        raise
    wanted = {name: value for name, value in msgspec.json.decode(rival.payload).items() if name in fields}
    if not shows(codec.unstructure(changed), wanted):
        raise OutcomeUnknown("the update was answered, and the task does not show it")
    try:
        await whole(run.replace(rival, changed.current_status))
    except IllegalTransition:
        return f"its order was taken back meanwhile: see gotsurge status {rival.other_run}"
    return ""


def _undo(rival: Rival) -> str:
    return f"gotsurge undo {rival.other_run} --key {shlex.quote(rival.key)}"


def _certain(payload: bytes, fields: Iterable[str]) -> bytes:
    """An order whose task is being changed: what is certain of it, and the names of the fields that are not."""
    order = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    named = {name: value for name, value in order.items() if name not in fields}
    return msgspec.json.encode({**named, _UNCERTAIN: sorted(fields)})


def _can_be_changed(name: str) -> bool:
    return name in TaskChanges.__annotations__ or name == "currency"


def _values(order: Order, fields: Iterable[str]) -> Mapping[str, Any]:
    names = ["price" if name == "currency" else name for name in fields]
    return {name: getattr(order, name) for name in names}
