"""The one way from an approved proposal to GotSurge: the command that it names, in a process of its own.

The command is the desk, the push, the undo of people. So it has their ledger, brakes, messages and exit codes, and a
program that proposes has no way of its own to send.
"""

import asyncio
import hashlib
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
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
FINISHED = frozenset({0, 9})
"""Exit codes of a command that left nothing open. After any other the same may be proposed again."""
HELD = 6
"""The exit code that says that another process has the run, and still sends."""
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


async def send_approved(ledger: Ledger, proposal: Proposal, by: str, *, again: bool = False) -> Proposal:
    """Approve a proposal in a person's name, send it, and return it with its outcome.

    If the command is killed, or another process has the run, the proposal is still being sent.

    Args:
        again: a person says that its sender has ended in the middle: the rest is sent, as the ledger knows what was
            sent before.

    Raises:
        UsageError: it is not waiting, or a file has changed since it was proposed; nothing was sent.
    """
    with TemporaryDirectory(prefix="gotsurge-") as folder:
        words = await asyncio.to_thread(_bound, proposal, Path(folder))
        approved = await ledger.proposals.approve(proposal, by, again=again)
        words = [f"{BY}{by}" if word == BY else word for word in words]
        return await uninterrupted(_send(ledger, approved, words))


async def _send(ledger: Ledger, proposal: Proposal, words: Sequence[str]) -> Proposal:
    where = ledger.place.url or str(ledger.place.path)
    ran = await run_command(words, proposal.request.stdin, {"GOTSURGE_LEDGER": where})
    if ran.exit_code < 0 or ran.exit_code == HELD:  # whoever approves it once more has the rest sent
        return await ledger.proposals.get(proposal.id)
    state = ProposalState.DONE if ran.exit_code in FINISHED else ProposalState.FAILED
    outcome = msgspec.json.encode(ran.document)
    return await ledger.proposals.end(proposal, state, ran.exit_code, outcome)


def _bound(proposal: Proposal, folder: Path) -> list[str]:
    """The words of the command, bound to the bytes that were approved; UsageError if a file has other ones.

    The push itself compares the bytes of its tables with a plan. Of a map it gets a private copy.
    """
    words = list(proposal.request.words)
    for path, digest in proposal.request.files.items():
        read, option = path, f"--map={path}"
        if option in words:
            read = str(folder / Path(path).name)
            words[words.index(option)] = f"--map={read}"
            with suppress(OSError):
                shutil.copyfile(path, read)
        if file_digest(read) != digest:
            why = f"{path} has changed since it was proposed, and nothing was sent: propose it again, and read it again"
            raise UsageError(why, "E614")
    if PLANNED in words:
        words[words.index(PLANNED)] += _save_plan(proposal, folder / "approved-plan.json")
    return words


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
