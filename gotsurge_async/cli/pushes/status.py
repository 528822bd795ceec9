"""``gotsurge status``: where a run stands."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import click
from msgspec import Struct, structs

from gotsurge_async.cli.fleet.view import watch_run
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.ledger import open_ledger, takes_ledger
from gotsurge_async.cli.shared.next_steps import Standing, next_steps
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import Step, finish, print_record
from gotsurge_async.cli.shared.sending import unused_drafts
from gotsurge_async.database import Place
from gotsurge_async.errors import ConfigError
from gotsurge_async.ledger import Counts, Ledger, OrderState, RunInfo, RunState, Size, Word, word_of
from gotsurge_async.ledger.segments import Distribution
from gotsurge_async.models.times import written
from gotsurge_async.push.load import LEFT_OUT
from gotsurge_async.tables.checks.words import number_of


class RunStatus(Struct, frozen=True):
    """A run, its counts, and whether a process has it at this moment.

    Attributes:
        steps: what to type next; empty while a process or workers send the run, and where nothing was admitted.
        distribution: the state of a run that workers send.
    """

    info: RunInfo
    counts: Counts
    held: bool
    steps: list[Step]
    distribution: Distribution | None = None

    @classmethod
    async def of(cls, ledger: Ledger, info: RunInfo) -> "RunStatus":
        counts, held = await ledger.counts(info.id), await ledger.is_held(info.id)
        distribution = await ledger.segments.distribution(info.id)
        put_up = info.state is RunState.SENDING and distribution is not None and distribution.goes_on
        steps = []
        if not (held or put_up) and info.state is not RunState.LOADING and info.archived_at is None:
            steps = next_steps(await Standing.of(ledger, info, counts))
        return cls(info, counts, held, steps, distribution if put_up else None)

    @property
    def state(self) -> str:
        """The state in words; a crash leaves no state of its own in the ledger."""
        if self.info.archived_in is not None:
            return "archived"
        if self.held:
            return "being sent" if self.info.state is RunState.SENDING else f"{self.info.state} (held)"
        if self.distribution is not None:
            return "waits for workers"
        return "broken off" if self.info.state is RunState.SENDING else self.info.state

    def number(self, word: Word) -> int:
        """The number of orders of a word; what a living process is sending is in flight, and not in doubt."""
        return self.counts.of(state for state in OrderState if word_of(state, held=self.held) == word)

    def document(self) -> dict[str, Any]:
        """The fields of the JSON document."""
        info = self.info
        return {
            "run": info.id,
            "state": info.state,
            "held": self.held,
            "holder": structs.asdict(info.holder) if info.holder is not None and self.held else None,
            "segments": self.distribution.segments if self.distribution else None,
            "segments_in_hand": self.distribution.leased if self.distribution else None,
            "environment": info.environment,
            "mode": info.mode,
            "source": info.source,
            "source_sha256": info.source_sha256,
            "created_at": info.created_at,
            "finished_at": info.finished_at,
            "archived_at": info.archived_at,
            "archived_in": info.archived_in,
            "options": dict(info.options),
            "orders": self.counts.total,
            **{word.value: self.number(word) for word in Word},
            "next": [step.command for step in self.steps],
            "states": {state.value: self.counts[state] for state in OrderState if self.counts[state]},
        }


@click.command()
@click.argument("run_id", metavar="RUN")
@takes_ledger
@click.option("--watch", is_flag=True, help="Show how it goes on, until nobody sends it any more.")
@click.option("--file", type=click.Path(path_type=Path), help="Tell whether RUN was made from this file, as it is now.")
@json_option
@asynchronous
async def status(run_id: str, ledger: Place, watch: bool, file: Path | None, as_json: bool) -> Exit:
    """Show where RUN stands, what is to be done about it, and what people have decided.

    With --watch it is shown live before, with all workers that send it; Ctrl-C ends the watching, and nothing else.

    \b
    Exit codes:
      0 shown
      1 FILE is not the one that RUN was made from, or has changed since
      2 no such run, ledger or file
    """
    if watch:
        await watch_run(ledger, run_id)
    async with open_ledger(ledger, look=True) as opened:
        run = await RunStatus.of(opened, await opened.run(run_id))
        decisions = [structs.asdict(decision) for decision in await opened.decisions(run_id)]
        unused = await unused_drafts(opened, run_id)
        size = await opened.size()
    same = None if file is None else await asyncio.to_thread(_is_made_from, run.info, file)
    code = Exit.REFUSED if same is False else Exit.CREATED
    document = {
        **run.document(),
        "decisions": decisions,
        "unused_drafts": unused,
        **({} if same is None else {"same_file": same}),
        "ledger_bytes": size.bytes,
        "ledger_orders": size.orders,
        "bytes_per_order": size.per_order,
    }

    def show() -> None:
        _show(run, decisions, unused, size)
        for step in run.steps:
            click.echo(str(step))
        if same is not None:
            verdict = "is the one" if same else "is NOT the one, or has changed since"
            click.echo(f"{file} {verdict} that run {run_id} was made from")

    finish(document, code, show, as_json=as_json)
    return code


def _left_out(info: RunInfo) -> str | None:
    """The number of rows that are not in the run because they have faults, and the file of them."""
    left = info.options.get(LEFT_OUT)
    return f"{left['rows']:,}{', in ' + left['file'] if left['file'] else ''}" if left else None


def _is_made_from(info: RunInfo, file: Path) -> bool:
    if info.source_sha256 is None:
        raise ConfigError(f"run {info.id} was not made from a file", "E522")
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == info.source_sha256
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}", "E201") from None


def _show(run: RunStatus, decisions: list[dict[str, Any]], unused: list[str], size: Size) -> None:
    info, workers = run.info, run.distribution
    holder = info.holder if run.held else None
    per_order = f"{size.per_order or 0:,.0f} bytes for each of {number_of(size.orders, 'order')}"
    print_record(
        [
            ("run", info.id),
            ("state", run.state),
            ("held by", f"process {holder.pid} on {holder.host} since {written(holder.since)}" if holder else None),
            ("segments", f"{workers.segments:,} left, {workers.leased:,} in workers' hands" if workers else None),
            ("stopped by", workers.stopped_by if workers else None),
            ("environment", info.environment),
            ("mode", info.mode),
            ("from", info.source),
            ("begun", info.created_at),
            ("ended", info.finished_at),
            ("archived", info.archived_at),
            ("its orders are in", info.archived_in),
            ("orders", f"{run.counts.total:,}"),
            *((word.replace("_", " "), f"{number:,}") for word in Word if (number := run.number(word))),
            ("rows left out", _left_out(info)),
            ("unused drafts", f"{len(unused):,}" if unused else None),
            ("ledger", f"{size.bytes / 1e6:,.1f} MB, {per_order}"),
        ]
    )
    for decision in decisions:
        task = decision["task_id"]
        what = f"created as {task}" if decision["created"] else f"task {task} is gone" if task else "not created"
        click.echo(f"{decision['key']}: {what}, said {decision['by']} at {written(decision['at'])}")
