"""Orders that were changed after their keys had been pushed, and the fields in which they differ."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from gotsurge_async.calls.stream import chunks_of
from gotsurge_async.ledger import PUSHED, Ledger, OrderState, Rival, Run
from gotsurge_async.ledger.errors import unreadable

_NOT_COMPARED = frozenset({"client_time_utc"})
"""Fields that are no part of the delivery: the time at which a table was made."""
UNCERTAIN = "gotsurge_async:uncertain"
"""A key in the text of an order whose task is being changed: the fields, each with the run that changes it."""
_BLOCK = 500


def differing(mine: bytes, theirs: bytes, which: str = "") -> list[str]:
    """The fields in which two orders differ, dotted, such as ``to_address.zip_code``; lists are one field."""
    try:
        trees = msgspec.json.decode(mine), msgspec.json.decode(theirs)
    except ValueError as error:
        raise unreadable(which) from error
    uncertain = trees[1].pop(UNCERTAIN, ()) if isinstance(trees[1], dict) else ()
    fields = [*_differing(*trees), *uncertain]
    return [field for field in dict.fromkeys(fields) if field not in _NOT_COMPARED]


def uncertain_fields(payload: bytes) -> Sequence[str]:
    """The fields of an order that an update of its task may have changed."""
    if UNCERTAIN.encode() not in payload:
        return ()
    return list(msgspec.json.decode(payload).get(UNCERTAIN, ()))


def _differing(mine: Any, theirs: Any, path: str | None = None) -> Iterator[str]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for name in sorted(mine.keys() | theirs.keys()):
            yield from _differing(mine.get(name), theirs.get(name), name if path is None else f"{path}.{name}")
    elif mine != theirs and not (_is_nothing(mine) and _is_nothing(theirs)):
        yield path or ""


def _is_nothing(value: Any) -> bool:
    """Whether a value means the same as an absent one, such as an object without values."""
    return value is None or (isinstance(value, dict) and all(map(_is_nothing, value.values())))


async def note_changes(run: Run) -> int:
    """Note in which fields the changed orders of an admitted run differ; return their number.

    The admission compares texts. Orders that differ only in `_NOT_COMPARED` are not changed after all. Of an order
    whose former text is not known, the admission has noted what differs.
    """
    async for block in changed_orders(run):
        differences = await asyncio.to_thread(lambda rivals: [differing_fields(rival) for rival in rivals], block)
        changed = {
            rival.id: why_changed(rival.other_run, fields, rival.other_payload)
            for rival, fields in zip(block, differences, strict=True)
            if fields
        }
        await run.note_changed(list(changed.items()))
        await run.note_unchanged([rival.id for rival in block if rival.id not in changed])
    return (await run.counts()).changed


async def changed_orders(run: Run) -> AsyncIterator[list[Rival]]:
    """The changed orders of a run, each with the order that was pushed under its key."""
    after = -1
    while block := await run.rivals((OrderState.CHANGED,), after):
        yield block
        after = block[-1].id


def differing_fields(rival: Rival) -> list[str]:
    """The fields in which an order differs from the one that was pushed under its key."""
    which = f"order {rival.id} or {rival.other_id}, key {rival.key}"
    return differing(rival.payload, rival.other_payload, which)


def why_changed(run_id: str, fields: Sequence[str], theirs: bytes) -> str:
    """The reason why an order counts as changed, for people; ``theirs`` is the text that its key was pushed with."""
    uncertain = uncertain_fields(theirs)
    certain = ", ".join(field for field in fields if field not in uncertain)
    parts = [f"differs from what was sent: {certain}"] if certain else []
    parts += [f"an update may have changed: {', '.join(uncertain)}"] if uncertain else []
    return f"pushed by run {run_id}, and {'; '.join(parts)}"


class ChangedRow(Struct, frozen=True, kw_only=True):
    """An order that was pushed before and differs now."""

    line: int
    key: str
    reason: str
    """The run that pushed it, and the fields in which it differs."""

    def __str__(self) -> str:
        return f"{self.line}: {self.key}: {self.reason}"


class Known(Struct, frozen=True, kw_only=True):
    """A comparison of the orders of a file with a ledger, before they are pushed.

    Attributes:
        already_pushed: the number of orders whose keys are created or in doubt; of these ``in_doubt`` are in doubt.
        changed: the first thousand, of ``changed_count``, that differ from the order that was sent.
        differs: the differences from the last file that was read with the same map.
    """

    already_pushed: int = 0
    in_doubt: int = 0
    changed: tuple[ChangedRow, ...] = ()
    changed_count: int = 0
    differs: tuple[str, ...] = ()


_KEPT = 1000


async def compare(run: Run, ledger: Ledger, environment: str) -> Known:
    """Compare the orders of a run, in any ledger, with those that another ledger has under their keys."""
    already = in_doubt = changed_count = 0
    changed: list[ChangedRow] = []
    async for block in chunks_of(run.rows(), _BLOCK):
        known = await ledger.known(environment, [row.key for row in block])
        for row in block:
            owner = known.get(row.key)
            if owner is None or owner.row.state not in PUSHED:
                continue
            already += 1
            in_doubt += owner.row.state is not OrderState.CREATED
            other_run, payload = owner.run.id, owner.row.payload
            which = f"key {row.key} of run {other_run}"
            known_to_differ = payload not in (b"", row.payload)  # the payload of an archived one is not known
            fields = differing(row.payload, payload, which) if known_to_differ else []
            if fields:
                changed_count += 1
                if len(changed) < _KEPT:
                    changed.append(
                        ChangedRow(line=row.line, key=row.key, reason=why_changed(other_run, fields, payload))
                    )
    return Known(already_pushed=already, in_doubt=in_doubt, changed=tuple(changed), changed_count=changed_count)
