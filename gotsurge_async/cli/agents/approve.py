"""``gotsurge approve``: the proposals of agents, and a person's decisions about them."""

from typing import Any

import click
import msgspec

from gotsurge_async.cli.agents.account import send_as_proposed
from gotsurge_async.cli.shared import output
from gotsurge_async.cli.shared.exits import Exit, Failure, WrongUse, asynchronous
from gotsurge_async.cli.shared.ledger import env_option, find_ledger_of, ledger_option, open_ledger
from gotsurge_async.cli.shared.options import json_option, user_name
from gotsurge_async.cli.shared.output import (
    as_json,
    at_a_terminal,
    confirmed,
    print_json,
    print_list,
    prose,
    say,
    spare,
)
from gotsurge_async.database import Place
from gotsurge_async.errors import Coded
from gotsurge_async.ledger.proposals import Proposal, ProposalState
from gotsurge_async.models.times import written_clock
from gotsurge_async.models.words import printable_lines
from gotsurge_async.system import loops


@click.command()
@click.argument("proposal_id", metavar="[PROPOSAL]", required=False)
@ledger_option
@env_option
@click.option(
    "--yes", "digest", metavar="DIGEST", help="Approve without a question what has this digest, and no other."
)
@click.option("--reject", metavar="TEXT", help="Reject the proposal, with the reason.")
@click.option("--by", metavar="NAME", help="Who decides about the proposal.  [default: your user name on this machine]")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="List the newest N.")
@click.option("--serve", is_flag=True, help="Show the proposals on a page on this machine, until Ctrl-C.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8767,
    show_default=True,
    metavar="N",
    help="The port of --serve; 0 takes any free one.",
)
@json_option
def approve(
    proposal_id: str | None,
    ledger: Place | None,
    env: str | None,
    digest: str | None,
    reject: str | None,
    by: str | None,
    limit: int,
    serve: bool,
    port: int,
) -> Exit | None:
    """List what agents have proposed; or show one PROPOSAL, ask, and send it.

    Approved is exactly what is shown, once. If a file has changed since, nothing is sent, and it must be proposed
    again. A proposal is sent by the command that it shows, with the ledger, so that what was sent before is not sent
    again. If the sender ended in the middle, approve it once more at a terminal: the rest is sent.

    \b
    Exit codes:
      0 listed, shown or rejected      2 not approved, or it cannot be; nothing was sent
      else that of the command which the proposal shows
    """
    place, who = find_ledger_of(ledger, env), by or user_name()
    if serve:
        if (proposal_id, digest, reject) != (None, None, None):
            raise WrongUse("--serve shows all proposals: leave PROPOSAL, --yes and --reject out")
        from gotsurge_async.cli.agents.page import serve_page

        serve_page(place=place, by=who, port=port)
        return None
    if proposal_id is None:
        if (digest, reject) != (None, None):
            raise WrongUse("say which PROPOSAL", "E101")
        return _list(place=place, limit=limit)
    return _decide(place, proposal_id, digest, reject, who)


@asynchronous
async def _list(place: Place, limit: int) -> None:
    async with open_ledger(place, look=True) as ledger:
        proposals = await ledger.proposals.newest(limit)
    columns = ("PROPOSAL", "STATE", spare("ENVIRONMENT", 2), spare("UNTIL", 1), prose("WHAT"), spare("CLIENT", 3))
    rows = [
        (each.id, each.state, each.request.environment, each.expires_at, each.summary.preview[0], each.client)
        for each in proposals
    ]
    print_list([_document(proposal) for proposal in proposals], columns, rows)
    if not as_json() and any(each.state is ProposalState.PROPOSED for each in proposals):
        say("gotsurge approve PROPOSAL shows one, and asks")


def _decide(place: Place, proposal_id: str, digest: str | None, reject: str | None, by: str) -> Exit | None:
    proposal = loops.run(_read(place, proposal_id))
    waits = proposal.state in (ProposalState.PROPOSED, ProposalState.SENDING)
    if not as_json():
        show(proposal)
    if digest not in (None, proposal.digest):
        why = f"{digest} is not the digest of proposal {proposal.id}: nothing was sent"
        raise Failure(Coded(why, "E614"), Exit.USAGE)
    if reject is not None:
        return _settle(place=place, proposal=proposal, by=by, reject=reject, again=_ended(proposal))
    if digest is not None or (waits and not as_json() and at_a_terminal()):
        # Asked outside of an event loop, which would not notice Ctrl-C before a line is typed.
        if digest is None and not confirmed(_question(proposal)):
            raise Failure(Coded("nothing was sent", "E112"), Exit.USAGE)
        return _settle(place=place, proposal=proposal, by=by, reject=None, again=digest is None)
    if as_json():
        print_json(_document(proposal))
    elif waits:
        other = f", or by: gotsurge approve {proposal.id} --yes {proposal.digest}"
        say(f"approve it at a terminal{other if proposal.state is ProposalState.PROPOSED else ''}")
    return None


def _ended(proposal: Proposal) -> bool:
    """Whether a person at a terminal says that the process that was sending a proposal has ended."""
    is_sending = proposal.state is ProposalState.SENDING and at_a_terminal()
    return is_sending and confirmed("It is being sent. Has the process that sends it ended?")


def _question(proposal: Proposal) -> str:
    if proposal.state is ProposalState.SENDING:
        since = "" if proposal.decided_at is None else f" since {written_clock(proposal.decided_at)}"
        return f"It is being sent{since}. If the process that sends it has ended, send the rest?"
    return f"Send this to {proposal.request.environment}, as {proposal.id}?"


async def _read(place: Place, proposal_id: str) -> Proposal:
    async with open_ledger(place, look=True) as ledger:
        return await ledger.proposals.get(proposal_id)


@asynchronous
async def _settle(place: Place, proposal: Proposal, by: str, reject: str | None, again: bool) -> Exit:
    async with open_ledger(place) as ledger:
        if reject is not None:
            proposal = await ledger.proposals.reject(proposal, by, reject, ended=again)
        else:
            proposal = await send_as_proposed(ledger, proposal, by, again=again)
    if as_json():
        print_json(_document(proposal))
    else:
        if reject is None:
            click.echo(printable_lines(msgspec.json.format(proposal.outcome or "{}", indent=2)))
        click.echo(f"proposal {proposal.id} is {proposal.state}")
    if proposal.state is ProposalState.SENDING:
        why = f"what sends proposal {proposal.id} was killed, or another process sends it: see `gotsurge runs`"
        raise Failure(Coded(why, "E614"), Exit.IN_DOUBT)
    return Exit(proposal.exit_code or 0)


def _document(proposal: Proposal) -> dict[str, Any]:
    """A proposal with its whole request: the orders as they would be sent, and the files that would be read."""
    request = proposal.request
    sent = msgspec.Raw(request.stdin.encode()) if request.stdin else None
    return {**proposal.document(), "input": sent, "files": dict(request.files)}


def show(proposal: Proposal) -> None:
    """Print a proposal for people."""
    for line in proposal.summary.preview:
        click.echo(line)
    request = proposal.request
    output.print_record(
        [
            ("proposal", proposal.id),
            ("state", proposal.state),
            ("environment", request.environment),
            ("account", request.account or None),
            ("proposed by", f"{proposal.client}, as {proposal.by}"),
            ("at", proposal.created_at),
            ("until", proposal.expires_at),
            ("decided by", proposal.decided_by),
            ("command", " ".join(["gotsurge", *request.words])),
            ("digest", proposal.digest),
            ("every field", f"gotsurge approve {proposal.id} --json" if request.stdin else None),
        ]
    )
