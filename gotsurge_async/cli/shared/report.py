"""What is told at the end about a run: counts, reasons, result files, and what to type next."""

import asyncio
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import attrs
import click

from gotsurge_async.bulk import Ledger, Summary
from gotsurge_async.bulk.after.results import Reason, try_folder
from gotsurge_async.bulk.checks.words import number_of
from gotsurge_async.bulk.ledger import RunInfo
from gotsurge_async.cli.shared.exits import Exit, explained_too
from gotsurge_async.cli.shared.next_steps import Step, cancelling, tell_steps
from gotsurge_async.cli.shared.output import SHOWN, counted, print_json, say
from gotsurge_async.errors import ConfigError

ROW = 600
"""About how many bytes of the result files an order takes."""


async def try_out(folder: Path, size: int, so: str) -> None:
    """See that the result files can be written.

    Args:
        size: bytes that they may need.
        so: what follows where they cannot.

    Raises:
        ConfigError: they cannot.
    """
    try:
        await asyncio.to_thread(try_folder, folder, size)
    except ConfigError as error:
        raise ConfigError(f"{error}; {so}: name another folder by --out, or make room in this one") from None


async def unused_drafts(ledger: Ledger, run_id: str) -> list[str]:
    """The task ids of a run's drafts that no order will be broadcast by, without those that were cancelled."""
    return [draft.task_id for draft in await ledger.unused_drafts(run_id) if not draft.cancelled]


def tell_unused(unused: Sequence[str], info: RunInfo) -> None:
    """Say which drafts were left, and how they are cancelled."""
    if not unused:
        return
    more = f" and {len(unused) - SHOWN:,} more" if len(unused) > SHOWN else ""
    left = number_of(len(unused), "unused draft was", "unused drafts were")
    say(f"{left} left, which no driver sees: {', '.join(unused[:SHOWN])}{more}")
    if how := cancelling(info):
        say(f"each is cancelled by: {how}")


_COUNTED = ("refused", "unprocessed", "in_doubt", "cancelled", "changed")
"""The files whose rows are told beside their names: the file of the created has those of earlier pushes, too."""
SHOWN_REASONS = 3
"""How many reasons of each kind are told to people; --json has more."""


@attrs.frozen(kw_only=True)
class Ending:
    """What is told in the end about a run.

    Attributes:
        steps: what to type next.
        stopped: why the sending ended early, if it did.
        failed: why there are no result files, if there are none.
    """

    summary: Summary
    steps: Sequence[Step] = ()
    stopped: str | None = None
    failed: str | None = None

    def document(self, code: Exit) -> dict[str, Any]:
        """All of it, for programs."""
        error = "; ".join(text for text in (self.stopped, self.failed) if text) or None
        return {
            **attrs.asdict(self.summary),
            "exit": int(code),
            "error": error,
            "next": [step.command for step in self.steps],
        }


def tell_ending(ending: Ending, code: Exit, *, as_json: bool) -> None:
    """Print what became of a run's orders, why, where its result files are, and what to type next."""
    for text in (ending.stopped, ending.failed):
        if text:
            say(text)
            explained_too([text])
    if as_json:
        print_json(ending.document(code))
        return
    _tell_summary(ending.summary)
    tell_steps(ending.steps)


def _tell_summary(summary: Summary) -> None:
    took = f" in {summary.seconds:.1f} s" if summary.seconds else ""
    click.echo(
        f"run {summary.run}, {number_of(summary.orders, 'order')}{took}{', result files:' if summary.files else ''}"
    )
    for name, path in summary.files.items():
        count = getattr(summary, name) if name in _COUNTED else None
        click.echo(f"  {path}{'' if count is None else f'  ({count:,})'}")
    _tell_reasons(summary.reasons)
    told = {
        "already pushed": summary.already_pushed,
        "refused": summary.refused,
        "in doubt": summary.in_doubt,
        "unprocessed": summary.unprocessed,
        "cancelled": summary.cancelled,
        "changed since": summary.changed,
    }
    click.echo(", ".join(filter(None, (f"{summary.created:,} created", counted(told)))))
    if number := summary.left_out:
        where = f": {summary.left_out_file}" if summary.left_out_file else ""
        click.echo(f"{number_of(number, 'row with faults', 'rows with faults')} NOT sent{where}")


def _tell_reasons(reasons: Sequence[Reason]) -> None:
    for verdict, mine in groupby(reasons, key=lambda each: each.verdict):
        told = [each for each in mine if each.reason]
        if not told:
            continue
        click.echo(f"why {verdict.replace('_', ' ')}:")
        for each in told[:SHOWN_REASONS]:
            click.echo(f"  {each.count:,} × {each.reason}")
        if len(told) > SHOWN_REASONS:
            click.echo("  … and for other reasons")
