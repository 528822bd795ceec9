"""``gotsurge approve``: the proposals of agents, and a person's decisions about them."""

from typing import Any

import click
import msgspec

from gotsurge_async.cli.agents.sending import send_approved
from gotsurge_async.cli.shared import output
from gotsurge_async.cli.shared.exits import Exit, Failure, WrongUse, asynchronous
from gotsurge_async.cli.shared.ledger import open_ledger, takes_ledger
from gotsurge_async.cli.shared.options import json_option, option, person, port_option, user_name
from gotsurge_async.cli.shared.output import as_json, at_a_terminal, confirmed, print_one, prose, say, spare
from gotsurge_async.database import Place
from gotsurge_async.errors import Coded
from gotsurge_async.ledger.proposals import Proposal, ProposalState
from gotsurge_async.models.times import written_clock
from gotsurge_async.models.words import printable_lines
from gotsurge_async.push.plan import amounts
from gotsurge_async.system import loops


@click.command()
@click.argument("proposal_id", metavar="[PROPOSAL]", required=False)
@takes_ledger
@option("--yes DIGEST", "Approve without a question what has this digest, and no other.", name="digest")
@option("--reject TEXT", "Reject the proposal, with the reason.")
@option("--by NAME", "Who decides about the proposal.  [default: your user name on this machine]", type=person)
@option("--limit N", "List the newest N.", type=click.IntRange(1), default=20)
@option("--serve", "Show the proposals on a page on this machine, until Ctrl-C.")
@port_option(8767, " with --serve")
@json_option
def approve(
    ledger: Place, proposal_id: str | None, digest: str | None, reject: str | None, by: str | None, **rest: Any
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
    by, is_general = by or user_name(), (proposal_id, digest, reject) == (None, None, None)
    if rest["serve"]:
        if not is_general:
            raise WrongUse("--serve shows all proposals: leave out PROPOSAL, --yes and --reject")
        from gotsurge_async.cli.agents.page import serve_page

        return serve_page(place=ledger, by=by, port=rest["port"])
    if proposal_id is not None:
        return _decide(ledger, proposal_id, digest, reject, by)
    if not is_general:
        raise WrongUse("--yes and --reject need the id of a PROPOSAL", "E101")
    return _list(place=ledger, limit=rest["limit"])


@asynchronous
async def _list(place: Place, limit: int) -> None:
    async with open_ledger(place, look=True) as ledger:
        proposals = await ledger.proposals.newest(limit)
    columns = ("PROPOSAL", "STATE", spare("ENVIRONMENT", 2), spare("UNTIL", 1), prose("WHAT"), spare("CLIENT", 3))
    rows = [
        (each.id, each.state, each.request.environment, each.expires_at, each.summary.preview[0], each.client)
        for each in proposals
    ]
    output.print_list([_document(proposal) for proposal in proposals], columns, rows)
    if not as_json() and any(each.state is ProposalState.PROPOSED for each in proposals):
        say("to see a proposal, and to approve it, run: gotsurge approve PROPOSAL")


def _decide(place: Place, proposal_id: str, digest: str | None, reject: str | None, by: str) -> Exit | None:
    proposal = loops.run(_read(place, proposal_id))
    is_sending = proposal.state is ProposalState.SENDING
    waits = is_sending or proposal.state is ProposalState.PROPOSED
    if not as_json():
        _show(proposal)
    if digest not in (None, proposal.digest):
        why = f'"{digest}" is not the digest of proposal {proposal.id}: nothing was sent'
        raise Failure(Coded(why, "E614"), Exit.USAGE)
    question = f"Send this to {proposal.request.environment}, as {proposal.id}?"
    if is_sending and proposal.decided_at is not None:
        rest = "" if reject is not None else ", and is the rest to be sent"
        question = f"It is being sent since {written_clock(proposal.decided_at)}. Has its process ended{rest}?"
    # Asked outside of an event loop, which would not notice Ctrl-C before a line is typed.
    asks = digest is None and at_a_terminal() and (is_sending if reject is not None else waits and not as_json())
    agrees = asks and confirmed(question)
    if agrees or digest is not None or reject is not None:
        return _settle(place=place, proposal=proposal, by=by, reject=reject, again=agrees)
    if asks:
        raise Failure(Coded("nothing was sent", "E112"), Exit.USAGE)
    if as_json():
        output.print_json(_document(proposal))
    elif waits:
        other = "" if is_sending else f", or by: gotsurge approve {proposal.id} --yes {proposal.digest}"
        say(f"approve it at a terminal{other}")
    return None


async def _read(place: Place, proposal_id: str) -> Proposal:
    async with open_ledger(place, look=True) as ledger:
        return await ledger.proposals.get(proposal_id)


@asynchronous
async def _settle(place: Place, proposal: Proposal, by: str, reject: str | None, again: bool) -> Exit:
    async with open_ledger(place) as ledger:
        if reject is not None:
            proposal = await ledger.proposals.reject(proposal, by, reject, ended=again)
        else:
            proposal = await send_approved(ledger, proposal, by, again=again)
    if reject is None and not as_json():
        click.echo(printable_lines(msgspec.json.format(proposal.outcome or "{}", indent=2)))
    print_one(_document(proposal), f"proposal {proposal.id} is {proposal.state}")
    if proposal.state is ProposalState.SENDING:
        why = f"the command that sends proposal {proposal.id} was killed, or still runs: `gotsurge runs` shows which"
        raise Failure(Coded(why, "E614"), Exit.IN_DOUBT)
    return Exit(proposal.exit_code or 0)


def _document(proposal: Proposal) -> dict[str, Any]:
    """A proposal with its whole request: the orders as they would be sent, and the files that would be read."""
    request = proposal.request
    sent = msgspec.Raw(request.stdin.encode()) if request.stdin else None
    return {**proposal.document(), "input": sent, "files": dict(request.inputs.values())}


def _show(proposal: Proposal) -> None:
    """Print a proposal for people: its preview, then the fields of its document except the outcome."""
    for line in proposal.summary.preview:
        click.echo(line)
    record = {name.replace("_", " "): value for name, value in proposal.document().items()}
    record |= {"command": " ".join(record["command"]), "spend": amounts(record["spend"])}
    record |= {"every field": f"gotsurge approve {proposal.id} --json" if proposal.request.stdin else None}
    output.print_record((name, value) for name, value in record.items() if name not in ("preview", "outcome"))
