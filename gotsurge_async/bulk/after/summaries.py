"""What the summaries of earlier runs say about the ledger: how far it had come when they were written."""

import asyncio
from pathlib import Path

import msgspec

from gotsurge_async.bulk.ledger import Identity, Ledger

NEWEST = 50
"""How many summaries are looked at, the newest by name."""


class _Told(msgspec.Struct):
    ledger_id: str = ""
    ledger_counter: int = 0


_told = msgspec.json.Decoder(_Told).decode


async def refuse_older(ledger: Ledger, folder: Path) -> None:
    """Refuse an older copy of a ledger, as far as the summaries in a folder know of a newer one.

    Raises:
        LedgerOlder: a summary of this ledger counts more than it does.
    """
    identity = await ledger.identity()
    if identity is None:
        return
    newest, where = await asyncio.to_thread(newest_in, folder, identity.name)
    await ledger.refuse_older(Identity(identity.id, newest), where)


def newest_in(folder: Path, ledger_id: str) -> tuple[int, str]:
    """The highest counter in the summaries of a ledger, and the file that has it; 0 if there is none."""
    highest, where = 0, ""
    try:
        files = sorted(folder.glob("*-summary.json"), key=lambda file: file.name, reverse=True)[:NEWEST]
    except OSError:
        return highest, where
    for file in files:
        try:
            told = _told(file.read_bytes())
        except (OSError, ValueError):  # not ours, or not whole: it proves nothing
            continue
        if told.ledger_id == ledger_id and told.ledger_counter > highest:
            highest, where = told.ledger_counter, str(file)
    return highest, where
