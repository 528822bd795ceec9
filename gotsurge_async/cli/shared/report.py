"""The result files and the end of a run: counts, reasons, files, drafts that were left, and what to type next."""

import asyncio
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import attrs
import click

from gotsurge_async.bulk import Ledger, Summary
from gotsurge_async.bulk.after.results import Reason, try_folder
from gotsurge_async.bulk.checks.words import number_of
from gotsurge_async.bulk.ledger import RunInfo
from gotsurge_async.cli.shared.exits import Exit, explained_too
from gotsurge_async.cli.shared.next_steps import about_task
from gotsurge_async.cli.shared.output import SHOWN, Step, counted, finish, say
from gotsurge_async.errors import ConfigError

ROW = 600
"""About how many bytes of the result files an order takes."""
SHOWN_REASONS = 3
"""How many reasons of each kind are printed; --json has more."""
_COUNTED = ("refused", "unprocessed", "in_doubt", "cancelled", "changed")
"""The files whose rows are counted next to their names: the file of the created has those of earlier pushes, too."""


async def try_out(folder: Path, size: int, consequence: str) -> None:
    """Check that result files of ``size`` bytes can be written.

    Raises:
        ConfigError: they cannot.
    """
    try:
        await asyncio.to_thread(try_folder, folder, size)
    except ConfigError as error:
        raise ConfigError(f"{error}; {consequence}: name another folder by --out, or make room in this one") from None


async def unused_drafts(ledger: Ledger, run_id: str) -> list[str]:
    """The task ids of a run's drafts that no order will be broadcast by, without those that were cancelled."""
    return [draft.task_id for draft in await ledger.unused_drafts(run_id) if not draft.cancelled]


def name_unused(unused: Sequence[str], info: RunInfo) -> None:
    """Name the drafts that were left, and the command that cancels one."""
    if not unused:
        return
    more = f" and {len(unused) - SHOWN:,} more" if len(unused) > SHOWN else ""
    left = number_of(len(unused), "unused draft was", "unused drafts were")
    say(f"{left} left, which no driver sees: {', '.join(unused[:SHOWN])}{more}")
    if how := about_task(info, "cancel", "ID", '--reason "unused draft"'):
        say(f"each is cancelled by: {how}")


def finish_run(
    summary: Summary, code: Exit, steps: Sequence[Step], *, problems: Sequence[str] = (), as_json: bool
) -> None:
    """Print what became of a run's orders, why, where its result files are, and what to type next.

    Args:
        problems: why the sending ended early, and why there are no result files.
    """
    for text in problems:
        say(text)
        explained_too([text])
    document = {**attrs.asdict(summary), "error": "; ".join(problems) or None}
    finish(document, code, lambda: _show(summary), as_json=as_json, steps=steps)


def _show(summary: Summary) -> None:
    took = f" in {summary.seconds:.1f} s" if summary.seconds else ""
    files = ", result files:" if summary.files else ""
    click.echo(f"run {summary.run}, {number_of(summary.orders, 'order')}{took}{files}")
    for name, path in summary.files.items():
        count = f"  ({getattr(summary, name):,})" if name in _COUNTED else ""
        click.echo(f"  {path}{count}")
    _show_reasons(summary.reasons)
    others = counted(
        {
            "already pushed": summary.already_pushed,
            "refused": summary.refused,
            "in doubt": summary.in_doubt,
            "unprocessed": summary.unprocessed,
            "cancelled": summary.cancelled,
            "changed since": summary.changed,
        }
    )
    click.echo(", ".join(filter(None, (f"{summary.created:,} created", others))))
    if number := summary.left_out:
        where = f": {summary.left_out_file}" if summary.left_out_file else ""
        click.echo(f"{number_of(number, 'row with faults', 'rows with faults')} NOT sent{where}")


def _show_reasons(reasons: Sequence[Reason]) -> None:
    named = [reason for reason in reasons if reason.reason]
    for verdict, group in groupby(named, key=lambda reason: reason.verdict):
        mine = list(group)
        click.echo(f"why {verdict.replace('_', ' ')}:")
        for reason in mine[:SHOWN_REASONS]:
            click.echo(f"  {reason.count:,} × {reason.reason}")
        if len(mine) > SHOWN_REASONS:
            click.echo("  … and for other reasons")
