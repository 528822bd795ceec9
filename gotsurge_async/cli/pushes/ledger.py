"""``gotsurge ledger``: checks the ledger, copies it, makes it smaller, and continues with an older copy."""

import asyncio
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from msgspec import structs

from gotsurge_async.after.reading import Imported, import_lost_runs, newest_in
from gotsurge_async.cli.shared.exits import Exit, WrongUse, asynchronous
from gotsurge_async.cli.shared.ledger import OUT, must_exist, open_ledger, takes_ledger
from gotsurge_async.cli.shared.options import PATH, force_option, json_option, option
from gotsurge_async.cli.shared.output import finish, output_to, print_record, say
from gotsurge_async.cli.streams import lost
from gotsurge_async.clock import SystemClock
from gotsurge_async.database import Kind, Place
from gotsurge_async.errors import ConfigError
from gotsurge_async.ledger import Ledger
from gotsurge_async.ledger.errors import RESCUE, commands_for
from gotsurge_async.ledger.sql.store import Backend
from gotsurge_async.ledger.upkeep.archive import archive, export
from gotsurge_async.ledger.upkeep.check import Health, backup, check, vacuum
from gotsurge_async.ledger.upkeep.older_copy import Accepted, accept_older, refuse_newest
from gotsurge_async.system import loops
from gotsurge_async.tables import STDIN
from gotsurge_async.tables.checks.words import number_of


@click.group()
def ledger() -> None:
    """Look after the ledger, the memory of every order that was ever sent."""


@ledger.command("check", short_help="Look for damage.")
@takes_ledger
@json_option
def check_(ledger: Place) -> Exit:
    """Look the whole ledger through: its pages and indexes, each row, and what must agree between them.

    Nothing is written. A push may go on at the same time.

    \b
    Exit codes:
      0 it is sound                    1 it is damaged, or older than it was
      2 wrong usage, or no ledger      3 it is sound, and two orders in it have one task
    """
    must_exist(ledger)
    health = check(ledger)
    code = Exit.REFUSED if health.flaws else Exit.IN_DOUBT if health.to_look_at else Exit.CREATED
    return finish(_document(health), code, lambda: _show(health))


def _document(health: Health) -> dict[str, object]:
    return {**structs.asdict(health), "flaws": [structs.asdict(flaw) for flaw in health.flaws]}


def _show(health: Health) -> None:
    damages = len(health.flaws) - health.older
    verdicts = [
        "older than it was" if health.older else "",
        f"damaged: {number_of(damages, 'flaw')}" if damages else "",
        f"{number_of(len(health.to_look_at), 'order')} to look at" if health.to_look_at else "",
    ]
    print_record(
        [
            ("ledger", health.path),
            ("id", health.ledger_id or None),
            ("counter", f"{health.counter:,}"),
            ("runs", f"{health.runs:,}"),
            ("orders", f"{health.orders:,}"),
            ("verdict", "; ".join(filter(None, verdicts)) or "sound"),
        ]
    )
    for line in (*health.flaws, *health.to_look_at):
        click.echo(str(line))
    if health.to_look_at:
        say(
            "the next push or resume (in a large ledger, the first of the day) marks the second order of each task "
            "as in doubt. After that, run: gotsurge reconcile RUN, or gotsurge resolve RUN"
        )
    if health.damaged:  # of one that is older, its flaw says what to do
        say(commands_for(f"{RESCUE}.", health.path))


@ledger.command("backup", short_help="Copy the ledger while it is used.")
@click.argument("file", metavar="FILE", type=PATH)
@takes_ledger
@force_option
@json_option
def backup_(file: Path, ledger: Place, force: bool) -> Exit:
    """Copy the ledger to FILE as it is at one moment, also while a push goes on. The copy is checked.

    FILE has mode 0600. It appears whole or not at all. To go back to the copy, put it where the ledger was, and remove
    the -wal and -shm files. If anything was sent since the copy was made, the next push notices it. Then nothing is
    sent before you say how to go on.

    \b
    Exit codes:
      0 FILE is a sound copy
      2 wrong usage; no ledger, or a damaged one; FILE exists, or cannot be written
    """
    must_exist(ledger)
    copied = backup(ledger, file, force=force)
    runs, orders = number_of(copied.runs, "run"), number_of(copied.orders, "order")
    document = {**_document(copied), "path": str(ledger), "file": str(file.absolute())}
    return finish(document, Exit.CREATED, f"{file}: {runs}, {orders}, counter {copied.counter:,}")


@ledger.command("vacuum", short_help="Give back room that is not needed any more.")
@takes_ledger
@json_option
def vacuum_(ledger: Place) -> Exit:
    """Make the ledger as small as what it holds. Nothing that it holds is removed.

    A ledger in a file is written anew. For a while this needs as much room again. Nobody may be sending at the same
    time.

    \b
    Exit codes:
      0 done
      2 wrong usage; no ledger, or a damaged one; no room
      6 another process has a run
    """
    must_exist(ledger)
    before, after = vacuum(ledger)
    text = f"{ledger}: {before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB now"
    return finish({"path": str(ledger), "bytes_before": before, "bytes": after}, Exit.CREATED, text)


@ledger.command("accept-older", short_help="Go on with an older copy of the ledger.")
@takes_ledger
@option(
    "--out",
    "The folder of the result files: their summaries can show that there was a newer ledger.",
    type=PATH,
    default=OUT,
)
@option("--yes", "Go on without asking first.")
@option(
    "--nothing-was-lost",
    "End the checks: you know all that was sent since the copy was made. New orders are no longer looked up.",
)
@json_option
def accept_older_(ledger: Place, out: Path, yes: bool, nothing_was_lost: bool) -> Exit:
    """Go on with an older copy of the ledger, or begin anew where it is gone, because there is no newer copy.

    Orders that waited in the copy may have been sent since. So all of them are in doubt from now on: see gotsurge
    reconcile and gotsurge resolve. The copy does not know of runs that were pushed after it was made. Those whose
    result files are in --out are read in, with their tasks. Their orders are in doubt until gotsurge reconcile, or a
    push of the same orders, has read these tasks. To read more folders, give the command again with another --out.

    There may be lost runs without result files. So, from now on, an order that is pushed for the first time is looked
    up on the Task List before it is sent. A plain partner has no Task List: then the order is in doubt, and is not
    sent, unless gotsurge push --not-sent-before says that no lost run sent it. When you know what every lost run sent,
    --nothing-was-lost ends this.

    \b
    Exit codes:
      0 done
      2 wrong usage, or the ledger is not older than anything that is known
      6 another process has a run
    """
    if nothing_was_lost:
        loops.run(_end_checks(ledger))
        return finish({}, Exit.CREATED, f"{ledger}: new orders are sent again without being looked up")
    newest = loops.run(_refused_newest(ledger, out))
    question = f"{ledger}: what was sent since this copy was made is not known to it. Is there really no newer copy?"
    if not yes:
        click.confirm(question, abort=True, err=True)
    accepted, imported = loops.run(_accept(ledger, newest, out))
    document = {**structs.asdict(accepted), **structs.asdict(imported)}
    return finish(document, Exit.CREATED, lambda: _show_accepted(ledger, out, accepted, imported))


def _show_accepted(ledger: Place, out: Path, accepted: Accepted, imported: Imported) -> None:
    for run_id, orders in imported.runs.items():
        click.echo(
            f"run {run_id}: {number_of(orders, 'order')} read in from {out}, in doubt until their tasks are read"
        )
    for file, why in imported.unreadable.items():
        say(f"{file}: not read in: {why}")
    orders_are = number_of(accepted.in_doubt, "order of it is", "orders of it are")
    on = commands_for("`gotsurge runs` and, for each environment, `gotsurge reconcile`", str(ledger))
    click.echo(f"{ledger}: {orders_are} in doubt now; {on} go on")
    audit = commands_for("`gotsurge audit --repair`", str(ledger))
    say(f"orders that this copy shows as created may have been cancelled later: run {audit} to compare the tasks")
    say(
        "runs that are missing from this copy may have sent more orders. Therefore, a push first looks each new order "
        "up at GotSurge, or leaves it in doubt. If you know that no run is missing, end this: "
        f"gotsurge ledger accept-older --nothing-was-lost --ledger {shlex.quote(str(ledger))}"
    )


async def _accept(where: Place, newest: int, out: Path) -> tuple[Accepted, Imported]:
    accepted = await accept_older(where, newest=newest, clock=SystemClock().now)
    async with open_ledger(where) as opened:
        return accepted, await import_lost_runs(opened, out)


async def _end_checks(where: Place) -> None:
    async with open_ledger(where) as opened:
        if await opened.accepted_at() is None:
            raise ConfigError(
                f"{where}: --nothing-was-lost has no effect: no older copy of this ledger was accepted, or the "
                "option was already passed",
                "E505",
            )
        await opened.all_known()


async def _refused_newest(where: Place, out: Path) -> int:
    """The highest count of the ledger in the summaries of a folder; raises LedgerError if the ledger is as new."""
    newest = 0
    if await asyncio.to_thread(Backend(where).is_there):
        async with await Ledger.look(where) as opened:
            identity = await opened.identity()
        newest = newest_in(out, identity.name)[0] if identity is not None and identity.name else 0
    await refuse_newest(where, newest=newest)
    return newest


# --- taking orders out of it ------------------------------------------------------------------------------------------


@ledger.command("export", short_help="Write all orders as JSON Lines.")
@click.argument("file", metavar="FILE|-")
@takes_ledger
@force_option
@asynchronous
async def export_(file: str, ledger: Place, force: bool) -> None:
    """Write every order of the ledger to FILE, or with - to standard output: one JSON object on each line.

    An object has run, environment, line, key, state, task_id, status, error, claimed_at, updated_at, and payload: the
    order as it is sent. A push may go on at the same time. Each order is written as it is when it is read. FILE has
    mode 0600. It appears whole or not at all.

    \b
    Exit codes:
      0 all is written
      2 wrong usage; no ledger, or a damaged one; FILE exists, or cannot be written
    """
    async with open_ledger(ledger, look=True) as opened:
        path = None if file == STDIN else Path(file)
        if path is not None and opened.place.kind is Kind.SQLITE and path.exists() and path.samefile(opened.place.path):
            raise ConfigError(f"{path} is the ledger itself: give another name", "E110")
        with output_to(path, force=force) as stream:
            done = await export(opened, stream)
        if path is None and (trouble := lost(sys.stdout.buffer)) is not None:
            raise ConfigError(f"cannot write all of the output to standard output: {trouble}", "E109")
    say(f"{number_of(done.orders, 'order')} of {number_of(done.runs, 'run')}")
    for run_id, where in done.archived.items():
        say(f"run {run_id} was archived. To export it, run: gotsurge ledger export - --ledger {shlex.quote(where)}")


@ledger.command("archive", short_help="Move finished runs into a file.")
@option(
    "--before DATE",
    "Only runs that ended before this day, such as 2026-01-31 (UTC).",
    type=click.DateTime(("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S")),
    required=True,
)
@option("--to FILE", "The file of the archive.  [default: beside the ledger, its name and -archive]", type=PATH)
@takes_ledger
@json_option
@asynchronous
async def archive_(before: datetime, to: Path | None, ledger: Place) -> Exit:
    """Move the orders of finished runs into FILE, an archive, which runs, status, results and ledger export look at.

    Keys, states and task ids stay in the ledger. So no archived order is ever sent again, and a file that was pushed
    is still known. Only this is lost: an order that was changed since cannot be distinguished from the archived one.
    You cannot resume, retry or undo an archived run.

    Some runs stay in the ledger: those that are not done, those with an order in doubt, and those with a draft that
    may exist and that nobody knows. Afterwards gotsurge ledger vacuum gives the space back.

    FILE has mode 0600, and takes the runs of one ledger only. A run is safely in FILE before it leaves the ledger.

    \b
    Exit codes:
      0 done, also if there was nothing to do
      2 wrong usage; no ledger, or a damaged one; FILE is no archive of it, or cannot be written
      6 another process has a run, which was left
    """
    if to is None:
        if ledger.kind is not Kind.SQLITE:
            raise WrongUse("name the file of the archive: --to FILE")
        to = ledger.path.with_name(f"{ledger.path.stem}-archive{ledger.path.suffix}")
    await asyncio.to_thread(must_exist, ledger)
    done = await archive(ledger, to, before=before.replace(tzinfo=UTC), clock=SystemClock().now)
    code = Exit.HELD if done.held else Exit.CREATED

    def show() -> None:
        for run_id, orders in done.runs.items():
            click.echo(f"run {run_id}: {number_of(orders, 'order is', 'orders are')} in {done.file}")
        for run_id, why in done.left.items():
            say(f"run {run_id} was not archived: {why}")
        if not done.runs:
            say("nothing was archived")

    return finish(structs.asdict(done), code, show)
