"""``gotsurge runs``, ``status`` and ``results``: the runs of the ledger, the state of one, and its result files."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import click
from msgspec import Struct, structs

from gotsurge_async.after.results import write_results
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.ledger import (
    env_option,
    find_ledger_of,
    ledger_option,
    open_ledger,
    out_option,
    takes_ledger,
)
from gotsurge_async.cli.shared.next_steps import Standing, next_steps
from gotsurge_async.cli.shared.options import PATH, json_option, option
from gotsurge_async.cli.shared.output import (
    Column,
    Step,
    counted,
    finish,
    is_terminal,
    print_list,
    print_record,
    prose,
    say,
    shown,
    spare,
)
from gotsurge_async.cli.shared.sending import ROW, finish_run, name_unused, try_out, unused_drafts
from gotsurge_async.database import Place
from gotsurge_async.errors import ConfigError
from gotsurge_async.ledger import Counts, Ledger, OrderState, RunInfo, RunState, Size, Word, word_of
from gotsurge_async.ledger.segments import Distribution
from gotsurge_async.models.times import written
from gotsurge_async.push.load import LEFT_OUT
from gotsurge_async.tables.checks.words import number_of

_COUNTED = (
    *(Word.CREATED, Word.ALREADY_PUSHED, Word.CHANGED, Word.REFUSED),
    *(Word.IN_DOUBT, Word.UNPROCESSED, Word.IN_FLIGHT, Word.CANCELLED),
)


class RunStatus(Struct, frozen=True):
    """A run, its counts, and whether a process has it at this moment.

    ``steps`` is empty while a process or workers send the run, and if nothing was admitted.
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
        """The state in words, since the ledger stores no state for a crash."""
        if self.info.archived_in is not None:
            return "archived"
        if self.held:
            return "being sent" if self.info.state is RunState.SENDING else f"{self.info.state} (held)"
        if self.distribution is not None:
            return "waits for workers"
        return "broken off" if self.info.state is RunState.SENDING else self.info.state

    def number(self, word: Word) -> int:
        """The number of orders with a word; what a living process is sending is in flight, and not in doubt."""
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


# --- many -------------------------------------------------------------------------------------------------------------


@click.command()
@ledger_option
@env_option
@option("--limit N", "List the newest N runs.", type=click.IntRange(1), default=20)
@json_option
@asynchronous
async def runs(ledger: Place | None, env: str | None, limit: int) -> None:
    """List the runs of the ledger, the newest first."""
    async with open_ledger(find_ledger_of(ledger, env), look=True) as opened:
        newest = [info for info in await opened.runs() if env in (None, info.environment)][:limit]
        listed = [await RunStatus.of(opened, info) for info in newest]
        submitted = await opened.waiting()
    for environment, (waits, stopped) in submitted.items():
        if env in (None, environment) and (waits or stopped):
            orders = number_of(
                waits, "submitted order has not been sent, and waits", "submitted orders have not been sent, and wait"
            )
            beside = f"; {stopped:,} more are not sent: see their outcomes" if stopped else ""
            say(f"{environment}: {orders} for a desk{beside}")
    # At a terminal only what fits next to each other: status shows all of a run.
    columns: list[str | Column] = ["RUN", "STATE", spare("ENVIRONMENT", 2), spare("MODE", 3), "ORDERS"]
    columns += [prose("OF THEM"), spare("FROM")]
    names = {word: word.replace("_", " ") for word in _COUNTED}
    if not is_terminal():
        columns[5:6] = [name.upper() for name in names.values()]
    rows = []
    for run in listed:
        numbers = {name: run.number(word) for word, name in names.items()}
        cells = [counted(numbers)] if is_terminal() else numbers.values()
        start = (run.info.id, run.state, run.info.environment, run.info.mode, run.counts.total)
        rows.append((*start, *cells, run.info.source))
    print_list([run.document() for run in listed], columns, rows)


# --- one --------------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("run_id", metavar="RUN")
@takes_ledger
@option("--watch", "Show its progress until no process sends it any more.")
@option("--file", "Tell whether RUN was made from this file, as it is now.", type=PATH)
@json_option
@asynchronous
async def status(run_id: str, ledger: Place, watch: bool, file: Path | None) -> Exit:
    """Show where RUN stands, what is to be done about it, and what people have decided.

    With --watch it is shown live before, with all workers that send it; Ctrl-C ends the watching, and nothing else.

    \b
    Exit codes:
      0 shown
      1 FILE is not the one that RUN was made from, or has changed since
      2 no such run, ledger or file
    """
    if watch:
        from gotsurge_async.cli.fleet.workers import watch_run  # few watch

        await watch_run(ledger, run_id)
    async with open_ledger(ledger, look=True) as opened:
        run = await RunStatus.of(opened, await opened.run(run_id))
        decisions = [structs.asdict(decision) for decision in await opened.decisions(run_id)]
        unused = await unused_drafts(opened, run_id)
        size = await opened.size()
    same = None if file is None else await asyncio.to_thread(_is_made_from, run.info, file)
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
            verdict, later = ("is", "") if same else ("is NOT", ", or has changed since")
            click.echo(f"{file} {verdict} the one that run {run_id} was made from{later}")

    return finish(document, Exit.REFUSED if same is False else Exit.CREATED, show)


def _is_made_from(info: RunInfo, file: Path) -> bool:
    if info.source_sha256 is None:
        raise ConfigError(f"run {info.id} was not made from a file", "E522")
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == info.source_sha256
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}", "E201") from None


def _show(run: RunStatus, decisions: list[dict[str, Any]], unused: list[str], size: Size) -> None:
    info, workers, left = run.info, run.distribution, run.info.options.get(LEFT_OUT)
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
            ("rows left out", f"{left['rows']:,}{', in ' + left['file'] if left['file'] else ''}" if left else None),
            ("unused drafts", f"{len(unused):,}" if unused else None),
            ("ledger", f"{size.bytes / 1e6:,.1f} MB, {per_order}"),
        ]
    )
    for decision in decisions:
        task = shown(decision["task_id"])
        what = f"created as {task}" if decision["created"] else f"task {task} is gone" if task else "not created"
        click.echo(f"{decision['key']}: {what}, said {decision['by']} at {written(decision['at'])}")


@click.command()
@click.argument("run_id", metavar="RUN")
@takes_ledger
@out_option
@json_option
@asynchronous
async def results(run_id: str, ledger: Place, out: Path) -> Exit:
    """Write the result files of RUN again, from what the ledger says now, and print its summary."""
    async with open_ledger(ledger, look=True) as opened:
        info = await opened.run(run_id)
        await try_out(out, ROW * (await opened.counts(run_id)).total, "nothing was written")
        unused = await unused_drafts(opened, run_id)
        name_unused(unused, info)
        summary = await write_results(opened, info, out, unused_drafts=unused)
        steps = []
        if await opened.is_held(run_id):
            say("a process has the run: what it is sending stands in the in-doubt file until it ends")
        elif info.archived_at is None:
            steps = next_steps(await Standing.of(opened, info, files=summary.files, out=out))
    return finish_run(summary, Exit.CREATED, steps)
