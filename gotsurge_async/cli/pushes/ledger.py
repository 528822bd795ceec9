"""``gotsurge ledger``: looking the ledger through, copying it, and going on with an older copy."""

import asyncio
from pathlib import Path

import attrs
import click

from gotsurge_async.bulk import Ledger
from gotsurge_async.bulk.after.results import newest_in
from gotsurge_async.bulk.ledger.errors import RESCUE, commands_for
from gotsurge_async.bulk.ledger.upkeep.backup import backup
from gotsurge_async.bulk.ledger.upkeep.check import Health, check
from gotsurge_async.bulk.ledger.upkeep.older_copy import accept_older, refuse_newest
from gotsurge_async.cli.shared.exits import Exit, run_told, told
from gotsurge_async.cli.shared.ledger import OUT, must_exist, takes_ledger
from gotsurge_async.cli.shared.options import PATH, json_option
from gotsurge_async.cli.shared.output import print_json, print_record, say
from gotsurge_async.clock import SystemClock


@click.group()
def ledger() -> None:
    """Look after the ledger, the memory of every order that was ever sent."""


@ledger.command("check", short_help="Look for damage.")
@takes_ledger
@json_option
def check_(ledger: Path, as_json: bool) -> None:
    """Look the whole ledger through: its pages and indexes, each row, and what must agree between them.

    Nothing is written, and a push may go on meanwhile.

    \b
    Exit codes:
      0 it is sound                    1 it is damaged, or older than it was
      2 wrong usage, or no ledger
    """
    with told():
        must_exist(ledger)
        found = check(ledger)
    code = Exit.REFUSED if found.flaws else Exit.CREATED
    if as_json:
        print_json({**_document(found), "exit": int(code)})
    else:
        _tell(found)
    raise SystemExit(int(code))


def _document(found: Health) -> dict[str, object]:
    return {**attrs.asdict(found, recurse=False), "flaws": [attrs.asdict(flaw) for flaw in found.flaws]}


def _tell(found: Health) -> None:
    number = len(found.flaws) - found.older
    told = [
        *(["older than it was"] if found.older else []),
        *([f"damaged: {number:,} {'flaw' if number == 1 else 'flaws'}"] if number else []),
    ]
    print_record(
        [
            ("ledger", found.path),
            ("id", found.ledger_id or None),
            ("counter", f"{found.counter:,}"),
            ("runs", f"{found.runs:,}"),
            ("orders", f"{found.orders:,}"),
            ("verdict", "; ".join(told) or "sound"),
        ]
    )
    for flaw in found.flaws:
        click.echo(str(flaw))
    if found.damaged:  # of one that is older, its flaw says what to do
        say(commands_for(f"{RESCUE}.", found.path))


@ledger.command("backup", short_help="Copy the ledger while it is used.")
@click.argument("file", metavar="FILE", type=PATH)
@takes_ledger
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@json_option
def backup_(file: Path, ledger: Path, force: bool, as_json: bool) -> None:
    """Copy the ledger to FILE as it is at one moment, also while a push goes on; the copy is checked.

    FILE has mode 0600, and appears whole or not at all. To go back to it, put it where the ledger was and remove the
    -wal and -shm files; what was sent since the copy was made is noticed, and nothing is sent before you say how to
    go on.

    \b
    Exit codes:
      0 FILE is a sound copy
      2 wrong usage; no ledger, or a damaged one; FILE exists, or cannot be written
    """
    with told():
        must_exist(ledger)
        copied = backup(ledger, file, force=force)
    if as_json:
        print_json({**_document(copied), "path": str(ledger), "file": str(file.absolute())})
    else:
        click.echo(f"{file}: {copied.runs:,} runs, {copied.orders:,} orders, counter {copied.counter:,}")


@ledger.command("accept-older", short_help="Go on with an older copy of the ledger.")
@takes_ledger
@click.option(
    "--out",
    type=PATH,
    default=OUT,
    show_default=True,
    help="Folder of result files, whose summaries tell of newer copies too.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def accept_older_(ledger: Path, out: Path, yes: bool, as_json: bool) -> None:
    """Go on with an older copy of the ledger, or begin anew where it is gone, because there is no newer copy.

    What waited in the copy may have been sent since: all of it is in doubt from now on, for gotsurge reconcile and
    gotsurge resolve. Of orders that were pushed after the copy was made it knows nothing: do not push their files
    again, before you have looked their orders up; nor those that it has as refused, if they were tried again since.

    \b
    Exit codes:
      0 done
      2 wrong usage, or the ledger is not older than anything that is known
      6 another process has a run
    """

    async def refuse() -> int:
        newest = await _newest(ledger, out)
        await refuse_newest(ledger, newest=newest)
        return newest

    newest = run_told(refuse())
    if not yes:
        click.confirm(
            f"{ledger}: what was sent since this copy was made is not known to it. Is there really no newer copy?",
            abort=True,
            err=True,
        )
    done = run_told(accept_older(ledger, newest=newest, clock=SystemClock().now))
    if as_json:
        print_json(attrs.asdict(done))
    elif not done.counter:
        click.echo(f"{ledger}: a new ledger may begin, which knows of nothing that was sent")
    else:
        on = commands_for("`gotsurge runs` and, for each environment, `gotsurge reconcile`", str(ledger.absolute()))
        click.echo(f"{ledger}: {done.in_doubt:,} orders are in doubt now; {on} go on")


async def _newest(path: Path, out: Path) -> int:
    """The highest counter of the ledger in the summaries of a folder."""
    if not await asyncio.to_thread(_is_there, path):
        return 0
    async with await Ledger.look(path) as opened:
        identity = await opened.identity()
    return newest_in(out, identity.name)[0] if identity is not None and identity.name else 0


def _is_there(path: Path) -> bool:
    return path.exists() and bool(path.stat().st_size)
