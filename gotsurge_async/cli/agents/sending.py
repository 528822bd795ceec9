"""The one way from an approved proposal to GotSurge: the command that it names, in a process of its own.

The command is the desk, the push, the undo of people. So it has their ledger, brakes, messages and exit codes, and a
program that proposes has no way of its own to send.
"""

import asyncio
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from msgspec import Struct

from gotsurge_async.clock import uninterrupted
from gotsurge_async.errors import UsageError
from gotsurge_async.ledger import Ledger
from gotsurge_async.ledger.proposals import Proposal, ProposalState
from gotsurge_async.models.words import one_line
from gotsurge_async.push.plan import Plan

PLANNED = "--plan="
"""The word of a push in whose place the plan of the proposed file stands."""
BY = "--by="
"""The word of a decision in whose place the name of the person stands."""
UNFINISHED = frozenset({2, 4, 5, 6, 8, 130, 143})
"""Exit codes after which the same may be proposed again: not all was sent, and a repeat sends only the rest."""
_SETTLED = ("GOTSURGE_ENV", "GOTSURGE_API_BASE")
"""Variables that a command must not heed: its own words name the place."""


class Ran(Struct, frozen=True, kw_only=True):
    """What a command answered.

    Attributes:
        document: its JSON document; of one that printed none, an object with its ``error``.
    """

    exit_code: int
    document: Any

    @property
    def error(self) -> str | None:
        """Why it did nothing, None if it did something."""
        return self.document.get("error") if isinstance(self.document, dict) else None


async def run_command(words: Sequence[str], stdin: str = "", variables: Mapping[str, str] | None = None) -> Ran:
    """Run ``gotsurge WORDS`` to its end, also when the caller is cancelled: then the command is interrupted, too."""
    kept = {name: value for name, value in os.environ.items() if name not in _SETTLED}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "gotsurge_async", *words),  # -P: the folder of tables holds no programs of ours
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=kept | dict(variables or {}),
    )
    out, err = await uninterrupted(process.communicate(stdin.encode()))
    code = process.returncode or 0
    try:
        return Ran(exit_code=code, document=msgspec.json.decode(out))
    except msgspec.DecodeError:
        lines = [one_line(line) for line in err.decode(errors="replace").splitlines()[-20:]]
        error = " / ".join(filter(None, lines)) or f"the command ended with {code}, and printed nothing"
        return Ran(exit_code=code, document={"error": error, "exit": code})


def file_digest(path: str) -> str:
    """The SHA-256 of a file, in hex; "" if it cannot be read."""
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


async def send_approved(ledger: Ledger, proposal: Proposal, by: str) -> Proposal:
    """Approve a proposal in a person's name, send it, and return it with its outcome.

    Where its sender had ended in the middle, the rest is sent: the ledger knows what was sent before. If the command is
    killed now, the proposal is still being sent.

    Raises:
        UsageError: it is not waiting, or a file has changed since it was proposed; nothing was sent.
    """
    for path, digest in proposal.request.files.items():
        if await asyncio.to_thread(file_digest, path) != digest:
            why = f"{path} has changed since it was proposed, and nothing was sent: propose it again, and read it again"
            raise UsageError(why, "E614")
    await ledger.proposals.approve(proposal, by)
    return await uninterrupted(_send(ledger, proposal, by))


async def _send(ledger: Ledger, proposal: Proposal, by: str) -> Proposal:
    words = list(proposal.request.words)
    with TemporaryDirectory(prefix="gotsurge-") as folder:
        if PLANNED in words:  # the push itself compares the very bytes that it reads
            words[words.index(PLANNED)] += _save_plan(proposal, Path(folder) / "approved-plan.json")
        words = [f"{BY}{by}" if word == BY else word for word in words]
        where = ledger.place.url or str(ledger.place.path)
        ran = await run_command(words, proposal.request.stdin, {"GOTSURGE_LEDGER": where})
    if ran.exit_code < 0:  # killed: whoever approves it once more has the rest sent
        return await ledger.proposals.get(proposal.id)
    state = ProposalState.FAILED if ran.exit_code in UNFINISHED else ProposalState.DONE
    outcome = msgspec.json.encode(ran.document)
    return await ledger.proposals.end(proposal, state, ran.exit_code, outcome)


def _save_plan(proposal: Proposal, path: Path) -> str:
    """Write the plan of the files that were approved; returns its path."""
    files, words = proposal.request.files, proposal.request.words
    items = next((word.removeprefix("--items=") for word in words if word.startswith("--items=")), None)
    plan = Plan(
        made_at=proposal.created_at,
        file=words[-1],
        sha256=files[words[-1]],
        items_sha256=None if items is None else files[items],
        orders=proposal.summary.orders,
        spend=dict(proposal.summary.spend),
        without_price=0,
    )
    plan.save(path)
    return str(path)
