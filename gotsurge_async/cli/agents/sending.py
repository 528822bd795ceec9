"""The one way from an approved proposal to GotSurge: its command, in a separate process.

People use the same command for the desk, the push and the undo. So it has their ledger, brakes, messages and exit
codes, and a program that proposes has no way of its own to send.
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

from gotsurge_async.cli.shared.credentials import find_credentials, token_file
from gotsurge_async.cli.shared.exits import Exit
from gotsurge_async.clock import uninterrupted
from gotsurge_async.config import from_env
from gotsurge_async.errors import UsageError
from gotsurge_async.ledger import Ledger
from gotsurge_async.ledger.proposals import Proposal, ProposalState
from gotsurge_async.models.words import one_line
from gotsurge_async.push.plan import Plan


class Ran(Struct, frozen=True, kw_only=True):
    """The answer of a command: its JSON document; if it did nothing, an object with its ``error``."""

    exit_code: int
    document: Any


async def run_command(words: Sequence[str], stdin: str = "", variables: Mapping[str, str] | None = None) -> Ran:
    """Run ``gotsurge WORDS`` to its end, even if the caller is cancelled."""
    place = ("GOTSURGE_ENV", "GOTSURGE_API_BASE")  # the command's own words name it
    kept = {name: value for name, value in os.environ.items() if name not in place}
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


def account_of(words: Sequence[str]) -> str:
    """The account of a command that this process sends, with a fingerprint of its sign-in.

    The fingerprint covers the host, the client key, and the place of the tokens, or the token in the variables.
    ConfigError where the variables or the configuration file are not valid.
    """
    if words[0] == "resolve":  # it changes nothing at GotSurge, and reads tasks as the account of its run
        return ""
    cut = (word.removeprefix("--").partition("=") for word in words[: words.index("--")])
    options = {option: value for option, _, value in cut}
    place = {"GOTSURGE_ENV": options["env"], "GOTSURGE_API_BASE": options.get("api-base", "")}
    settings, name = from_env({**os.environ, **place}), options.get("account")
    credentials = find_credentials(settings, name)
    tokens = [each and each.reveal() for each in (settings.bearer_token, settings.refresh_token)]
    stored = None if any(tokens) else (os.environ.get("GOTSURGE_TOKEN_STORE"), str(token_file().absolute()))
    key = credentials and credentials.client_key
    what = msgspec.json.encode((settings.environment.api_base, name, key, tokens, stored))
    return f"{name or 'the usual one'}, fingerprint {hashlib.sha256(what).hexdigest()[:12]}"


async def send_approved(ledger: Ledger, proposal: Proposal, by: str, *, again: bool = False) -> Proposal:
    """Approve a proposal in a person's name, send it, and return it with its outcome.

    If the command is killed, or another process has the run, the proposal is still being sent. With ``again``, a person
    states that its sender has ended in the middle: the rest is sent, as the ledger knows what was sent before.

    UsageError, and nothing is sent, where it is not waiting, a file has changed since it was proposed, or it would be
    sent as another account.
    """
    request, account = proposal.request, account_of(proposal.request.words)
    if account != request.account:
        why = (
            f"nothing was sent: proposal {proposal.id} is for another account ({request.account}) than this command "
            f"uses ({account}): approve it with the environment variables and configuration of gotsurge mcp"
        )
        raise UsageError(why, "E614")
    for path, digest in request.inputs.values():
        if await asyncio.to_thread(file_digest, path) != digest:
            why = (
                f"{path} has changed since it was proposed, so nothing was sent: propose this file again, and read the "
                "new proposal"
            )
            raise UsageError(why, "E614")
    with TemporaryDirectory(prefix="gotsurge-") as folder:
        end, more = request.words.index("--"), [f"--by={by}"] if request.words[0] == "resolve" else []
        if request.inputs:
            plan = Path(folder) / "approved-plan.json"
            _plan_of(proposal).save(plan)
            more = [f"--plan={plan}"]
        words = [*request.words[:end], *more, *request.words[end:]]
        return await uninterrupted(_send(ledger, await ledger.proposals.approve(proposal, by, again=again), words))


async def _send(ledger: Ledger, proposal: Proposal, words: Sequence[str]) -> Proposal:
    where = ledger.place.url or str(ledger.place.path)
    ran = await run_command(words, proposal.request.stdin, {"GOTSURGE_LEDGER": where})
    if ran.exit_code < 0 or ran.exit_code == Exit.HELD:  # whoever approves it once more has the rest sent
        return await ledger.proposals.get(proposal.id)
    is_done = ran.exit_code in (Exit.CREATED, Exit.RESULTS_FAILED)  # any other code leaves something open
    state = ProposalState.DONE if is_done else ProposalState.FAILED
    outcome = msgspec.json.encode(ran.document)
    return await ledger.proposals.end(proposal, state, ran.exit_code, outcome)


def _plan_of(proposal: Proposal) -> Plan:
    """The plan of the approved files: the push compares the bytes that it reads with it."""
    request, summary = proposal.request, proposal.summary
    digests = {name: digest for name, (_, digest) in request.inputs.items()}
    return Plan(
        made_at=proposal.created_at,
        file=request.words[-1],
        sha256=digests["file"],
        items_sha256=digests.get("items"),
        map_sha256=digests.get("map"),
        orders=summary.orders,
        spend=dict(summary.spend),
        without_price=0,
    )
