"""The control: ``python -m tests.chaos.unfenced worker …`` is the command without any fence of the ledger.

Only here, in this process, and never by a switch: what the writes are conditional on is cut out of their text, the
fence of run and segment lets everybody pass, and a claim never grows old. Nothing else is changed.
"""

import tempfile
from pathlib import Path
from typing import Any

from gotsurge_async.cli import main
from gotsurge_async.ledger.sql import databases, marks, runs, store
from gotsurge_async.push.chunks import Claim

CUT = {
    # A claim and a mark: whatever became of the chunk since it was read.
    " AND chunks.epoch = new.column2 AND chunks.states = new.column3": "",
    " AND epoch = :was_epoch AND states = :was_states": "",
    # A recorded task is never replaced: it is inserted, and not updated.
    "INSERT INTO results (chunk, part, status, ids) VALUES {rows}": (
        "INSERT INTO results (chunk, part, status, ids) VALUES {rows} "
        "ON CONFLICT (chunk, part) DO UPDATE SET status = excluded.status, ids = excluded.ids"
    ),
}


def without_fences() -> None:
    """Take the fences away."""
    text = databases.TEXT.read_text(encoding="utf-8")
    for held, cut in CUT.items():
        assert text.count(held) == 1, f"the text of the ledger has changed: {held}"
        text = text.replace(held, cut)
    file = Path(tempfile.mkdtemp(prefix="gotsurge-unfenced-")) / "ledger.sql"
    file.write_text(text, encoding="utf-8")
    replace(store, "TEXT", file)
    for module in (marks, runs):
        replace(module, "fence", lambda *_: None)

    async def leave(claim: Any) -> None:
        claim._on_its_way = True

    replace(Claim, "leave", leave)


def replace(where: Any, name: str, by: Any) -> None:
    """Put something else in a name's place, which must be there."""
    assert hasattr(where, name)
    setattr(where, name, by)


if __name__ == "__main__":
    without_fences()
    main()
