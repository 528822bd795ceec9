"""``gotsurge audit``: the ledger and the result files, compared with GotSurge."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click
from msgspec import Struct, structs

from gotsurge_async.after.audit import MOST_READS, Audit
from gotsurge_async.after.audit_notes import REPAIRABLE, WRITTEN_OFF, Finding, Kind
from gotsurge_async.cli.shared.connect import Target, connected, takes_place
from gotsurge_async.cli.shared.exits import Exit, WrongUse, about_run, exit_code_of, interruptible
from gotsurge_async.cli.shared.ledger import (
    OUT,
    find_ledger,
    ledger_option,
    open_ledger,
    own_runs,
    quiet_option,
    target_of,
)
from gotsurge_async.cli.shared.next_steps import Standing, about_task, next_steps
from gotsurge_async.cli.shared.options import PATH, json_option, option, person, user_name
from gotsurge_async.cli.shared.output import (
    SHOWN,
    Step,
    as_json,
    at_a_terminal,
    counted,
    finish,
    print_first,
    prose,
    say,
)
from gotsurge_async.cli.shared.progress import LINE_EVERY
from gotsurge_async.cli.shared.push_options import rate, rescan_after
from gotsurge_async.config import Limits
from gotsurge_async.database import Kind as Database
from gotsurge_async.database import Place
from gotsurge_async.ledger import Ledger, OrderState, RunHeld, RunInfo
from gotsurge_async.system import loops, shell
from gotsurge_async.tables.checks.words import number_of, verb

T = TypeVar("T")
K = TypeVar("K")

_INTERRUPTED = "the audit was interrupted: run the same command to continue it"
_QUESTIONS = {
    Kind.VANISHED: "GotSurge does not have the tasks of {orders} of run {run} any more.",
    Kind.CANCELLED: "The tasks of {orders} of run {run} were cancelled at GotSurge.",
    Kind.ALIVE: "The tasks of {orders} of run {run} are live, and the ledger has the orders as cancelled.",
}
_FACTS = {
    Kind.VANISHED: ("task has vanished from GotSurge", "tasks have vanished from GotSurge"),
    Kind.CANCELLED: ("task was cancelled at GotSurge", "tasks were cancelled at GotSurge"),
    Kind.CHANGED: ("order differs from what GotSurge has", "orders differ from what GotSurge has"),
    Kind.DRAFT: ("task is a draft, which no driver sees", "tasks are drafts, which no driver sees"),
    Kind.ALIVE: ("cancelled order has a live task", "cancelled orders have live tasks"),
    Kind.TWICE: ("order may have several live tasks", "orders may have several live tasks each"),
    Kind.SHARED: ("order shares its task with another order", "orders share their tasks with other orders"),
    Kind.CHANGING: ("task has an update that was not answered", "tasks have updates that were not answered"),
    Kind.UNREADABLE: ("task cannot be read by this account", "tasks cannot be read by this account"),
    Kind.FILE: (
        "difference between the result files and the ledger",
        "differences between the result files and the ledger",
    ),
}


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@takes_place
@ledger_option
@option("--out", f"The folder of the result files.  [default: as each run had it, or {OUT}]", type=PATH)
@option("--repair", "Record vanished, cancelled and live tasks as GotSurge has them; asks first.")
@option("--yes", "With --repair, do not ask.")
@option("--all-vanished", "With --repair, free the keys also when GotSurge has none of the recorded tasks.")
@option("--by NAME", "Who says that this may be repaired.  [default: your user name on this machine]", type=person)
@option(
    "--max-reads N",
    "Stop after so many reads of GotSurge; the same command then compares the rest.",
    type=click.IntRange(min=1),
    default=MOST_READS,
)
@rate("How many reads may begin in a second.")
@rescan_after("What differs is read again after this time.")
@quiet_option
@json_option
def audit(
    run_id: str | None, target: Target, ledger: Place | None, repair: bool, yes: bool, by: str | None, **options: Any
) -> Exit:
    """Compare RUN, or all runs of the environment or of --account, and their result files, with what GotSurge has.

    Every recorded task is read: on the Task List of a platform partner, else by its id. An audit names tasks that
    vanished, as after GotSurge was put back from a backup, tasks that others cancelled or changed, orders that are live
    twice, and orders in doubt. What differs is read twice, with --rescan-after between. Compared are names, price,
    windows, street and zip code.

    Nothing is changed without --repair, and GotSurge never is. --repair asks for each run, or takes --yes. It records
    the orders of vanished and cancelled tasks as cancelled, with who said so: their keys are free, and the next push
    of their file sends them again. An order that the ledger has as cancelled, and whose task is live, is recorded as
    created, if no other task of it is there. For the rest the command to type is named.

    \b
    Exit codes:
      0 nothing that was compared differs, or all was repaired
      2 wrong usage                    4 sign-in failed
      3 something differs, or is in doubt
      5 --max-reads was reached, and nothing differs so far
      6 nothing else differs, and another process has a run that was to be repaired
      8 GotSurge could not be read to the end, and nothing differs so far
      130, 143 interrupted by Ctrl-C, by SIGTERM: give it again
    """
    if (yes or options["all_vanished"]) and not repair:
        raise WrongUse("--yes and --all-vanished work only with --repair")
    if repair and not yes and not at_a_terminal():
        raise WrongUse(
            "--repair asks for confirmation, and there is no terminal: pass --yes to repair without being asked"
        )
    place, by = find_ledger(ledger, target), by or (user_name() if repair else "")
    wish = AuditOptions(place=place, target=target, by=by, **options)
    about_run(run_id)
    with interruptible(_INTERRUPTED):
        report = loops.run(_compare(wish, run_id))
        if not as_json():
            _show(report)
        if repair:
            # Asked outside of an event loop, which would not notice Ctrl-C before a line is typed.
            chosen = [some for some in _repairable(report, wish) if yes or click.confirm(_question(some), err=True)]
            loops.run(_repair(wish, report, chosen))
    return _end(report, wish)


class AuditOptions(Struct, frozen=True, kw_only=True):
    """The options of ``gotsurge audit``."""

    place: Place
    target: Target
    by: str
    out: Path | None
    all_vanished: bool
    max_reads: int
    rate: float | None
    rescan_after: float
    quiet: bool

    def audit(self, ledger: Ledger, **more: Any) -> Audit:
        """An audit with these options; its notes are next to a ledger that is a file, else in --out."""
        name = f"audit-{self.target.environment}"
        is_file = self.place.kind is Database.SQLITE
        path = self.place.path
        notes = path.with_name(f"{path.name}-{name}") if is_file else (self.out or OUT) / f".gotsurge-{name}.db"
        return Audit(ledger, notes, rescan_after=self.rescan_after, **more)


@attrs.define(kw_only=True)
class Report:
    """The result of an audit; ``held``: another process had a run that should have been repaired.

    ``others`` are the runs of other accounts and servers, which were not compared.
    """

    groups: Sequence[tuple[Target, list[RunInfo]]]
    others: Sequence[RunInfo]
    audit: Audit
    findings: list[Finding] = attrs.field(factory=list)
    repaired: list[Finding] = attrs.field(factory=list)
    held: bool = False

    @property
    def left(self) -> list[Finding]:
        """The findings that were not repaired."""
        repaired = set(self.repaired)
        return [finding for finding in self.findings if finding not in repaired]

    @property
    def runs(self) -> dict[str, RunInfo]:
        """The runs by their ids."""
        return {run.id: run for _, runs in self.groups for run in runs}


async def _compare(options: AuditOptions, run_id: str | None) -> Report:
    async with open_ledger(options.place) as ledger:
        groups, others = await _groups(ledger, options.target, run_id)
        runs = [run for _, some in groups for run in some]
        counts = [await ledger.counts(run.id) for run in runs]
        total = sum(count.of((OrderState.CREATED, OrderState.CANCELLED)) for count in counts)
        progress = _progress(total) if not options.quiet else lambda *_: None
        async with options.audit(ledger, most_reads=options.max_reads, progress=progress) as audit:
            report = Report(groups=groups, others=others, audit=audit)
            report.findings += [finding async for finding in audit.in_ledger(runs)]
            folders = grouped(runs, lambda run: options.out or Path(run.options.get("out") or OUT))
            for folder, some in folders.items():
                report.findings += [finding async for finding in audit.in_files(folder, some)]
            for target, some in report.groups:
                async with connected(target, Limits(rate=options.rate)) as gs:
                    account = target.account or ""
                    report.findings += [finding async for finding in audit.at_service(gs, some, account=account)]
    return report


def grouped(things: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Things by the result of ``key``, in their order."""
    groups: dict[K, list[T]] = {}
    for thing in things:
        groups.setdefault(key(thing), []).append(thing)
    return groups


async def _groups(
    ledger: Ledger, target: Target, run_id: str | None
) -> tuple[list[tuple[Target, list[RunInfo]]], list[RunInfo]]:
    """The runs to compare, by the account that made them; and those that are passed over."""
    infos, others = ([await ledger.run(run_id)], []) if run_id is not None else own_runs(await ledger.runs(), target)
    return list(grouped(infos, lambda info: target_of(info, target)).items()), others


def _progress(total: int) -> Callable[[int, int, float], None]:
    """A listener that prints the progress of an audit now and then."""
    next_line = time.monotonic() + LINE_EVERY

    def show(orders: int, reads: int, waits: float) -> None:
        nonlocal next_line
        if waits:
            say(f"what differs is read again in {waits:g} s")
        elif time.monotonic() >= next_line:
            next_line = time.monotonic() + LINE_EVERY
            say(f"{orders:,} of {number_of(total, 'order')} compared, {number_of(reads, 'read')}")

    return show


# --- repairing --------------------------------------------------------------------------------------------------------


def _repairable(report: Report, options: AuditOptions) -> list[list[Finding]]:
    """The findings that can be repaired, by run and kind."""
    chosen: list[Finding] = []
    doubtful = frozenset[str]() if options.all_vanished else _perhaps_of_others(report)
    in_files = {finding.key for finding in report.findings if finding.kind is Kind.FILE and finding.task_ids}
    for finding in report.findings:
        if finding.kind in REPAIRABLE and finding.key in in_files:
            say(f"{finding.key} is not repaired: a result file has another task of it; read that task first")
        elif finding.kind in REPAIRABLE and not (finding.kind is Kind.VANISHED and finding.run in doubtful):
            chosen.append(finding)
    for run in sorted(doubtful):
        say(
            f"run {run} is not repaired: GotSurge has none of its tasks, so the account or an endpoint's path may be "
            "wrong. If you are certain that this account created the tasks, add --all-vanished"
        )
    return list(_by_run_and_kind(chosen).values())


def _perhaps_of_others(report: Report) -> frozenset[str]:
    """The runs with vanished tasks that another account may have made: those of which no task is there.

    Another run's tasks prove nothing: a name may stand for other credentials today than when a run was pushed.
    """
    vanished = {finding.run for finding in report.findings if finding.kind is Kind.VANISHED}
    return frozenset(run for run in vanished if not report.audit.present[run])


def _question(findings: Sequence[Finding]) -> str:
    first = findings[0]
    what = _QUESTIONS[first.kind].format(orders=number_of(len(findings), "order"), run=first.run)
    if first.kind is Kind.ALIVE:
        return f"{what} Record them as created, so that no push sends them again?"
    return f"{what} Free their keys, so that the next push of their file sends them again?"


async def _repair(options: AuditOptions, report: Report, chosen: Sequence[list[Finding]]) -> None:
    if not chosen:
        return
    async with open_ledger(options.place) as ledger, options.audit(ledger) as audit:
        audit.incomplete = report.audit.incomplete  # then the notes stay, and the same command continues
        for target, runs in report.groups:
            mine = {run.id: run for run in runs}
            some = [findings for findings in chosen if findings[0].run in mine]
            if not some:
                continue
            async with connected(target, Limits(rate=options.rate)) as gs:
                for findings in some:
                    try:
                        keys = set(await audit.repair(gs, mine[findings[0].run], findings, by=options.by))
                    except RunHeld as error:
                        report.held = True
                        say(error)
                        continue
                    report.repaired += [finding for finding in findings if finding.key in keys]
                    alive = {task for finding in findings if finding.key in keys for task in finding.task_ids}
                    # Its key was not free because of that task, which is recorded now.
                    report.repaired += [
                        finding
                        for finding in report.findings
                        if finding.kind is Kind.CHANGED and finding.key in keys and alive.issuperset(finding.task_ids)
                    ]


# --- output -----------------------------------------------------------------------------------------------------------


def _show(report: Report) -> None:
    audit, findings = report.audit, report.findings
    for remark in audit.remarks:
        say(remark)
    click.echo(f"{number_of(audit.orders, 'order')} compared with GotSurge, {number_of(audit.reads, 'read')}")
    numbers = Counter(finding.kind for finding in findings)
    if findings or not audit.incomplete:
        words = counted({kind.replace("_", " "): numbers[kind] for kind in Kind})
        archived = sum(run.archived_in is not None for run in report.runs.values())
        others = len(report.others)
        left = [number_of(archived, "archived run")] if archived else []
        left += [f"{number_of(others, 'run')} of another account or API base"] if others else []
        runs = f"{' and '.join(left)} {verb(archived + others, 'was', 'were')}"
        click.echo(words or (f"nothing differs; {runs} not compared" if left else "the ledger and GotSurge agree"))
    rows = [(finding.kind, finding.run, finding.key, finding.details) for finding in findings]
    print_first(("WHAT", "RUN", "KEY", prose("WHY")), rows)
    if audit.incomplete:
        say(f"not everything was compared: {audit.incomplete}; to compare the rest, run the same command again")


def _end(report: Report, options: AuditOptions) -> Exit:
    audit, left = report.audit, report.left
    if left:
        code = Exit.HELD if report.held and all(finding.kind in REPAIRABLE for finding in left) else Exit.IN_DOUBT
    elif audit.error is not None:
        code = exit_code_of(audit.error)
    else:
        code = Exit.STOPPED if audit.incomplete else Exit.CREATED
    document = {
        "runs": list(report.runs),
        "orders": audit.orders,
        "reads": audit.reads,
        "findings": [structs.asdict(finding) for finding in report.findings],
        "repaired": [{"run": finding.run, "key": finding.key, "by": options.by} for finding in report.repaired],
        "incomplete": audit.incomplete,
        "remarks": [
            *audit.remarks,
            *(f"run {run.id} is of another account or API base, and was not compared" for run in report.others),
        ],
    }

    def show() -> None:
        if report.repaired:
            freed = sum(finding.kind in WRITTEN_OFF for finding in report.repaired)
            text = f"{number_of(len(report.repaired), 'order')} repaired, says {options.by}"
            click.echo(f"{text}: {number_of(freed, 'key is', 'keys are')} free")

    return finish(document, code, show, steps=_steps(report, options))


def _steps(report: Report, options: AuditOptions) -> list[Step]:
    """The commands to type for the remaining findings: one for each run and kind."""
    steps: list[Step] = []
    doubtful = _perhaps_of_others(report)
    for (run_id, kind), findings in _by_run_and_kind(report.left).items():
        info = report.runs.get(run_id)
        if info is None:
            continue
        readable = any(finding.task_ids for finding in findings)
        standing = Standing(info=info, counts={"in_doubt": len(findings)}, ledger=options.place, recorded=readable)
        number, task_ids = len(findings), findings[0].task_ids
        if kind is Kind.IN_DOUBT:
            steps += next_steps(standing)
            continue
        why = number_of(number, *_FACTS[kind])
        them, first = verb(number, "it", "them"), verb(number, "the", "the first")
        if kind in REPAIRABLE:
            when, more = verb(number, "To free the order's key", "To free the orders' keys"), ""
            if kind is Kind.ALIVE:
                when = f"To record {them} as created"
            elif kind is Kind.VANISHED and run_id in doubtful:
                when, more = f"If you are certain that this account created {them}", "--all-vanished"
            steps.append(Step(why, when, standing.command("audit", "--repair", more, calls=True)))
        elif kind is Kind.CHANGING:
            when = f"To change {them} to match the FILE of {verb(number, 'its order', 'their orders')}"
            steps.append(Step(why, when, standing.push("FILE", "--replace-changed")))
        elif kind is Kind.DRAFT:
            keys = [f"--key {shell.word(finding.key)}" for finding in findings[:SHOWN]]
            when = f"To cancel {them}, so that the next push creates new tasks"
            steps.append(Step(why, when, standing.command("undo", *keys, calls=True)))
        elif kind is Kind.TWICE:
            command = about_task(info, "cancel", shell.word(task_ids[-1]), '--reason "ordered twice"')
            steps.append(Step(why, f"To cancel one task of {first} order", command))
        elif task_ids:
            command = about_task(info, "get", shell.word(task_ids[0]))
            steps.append(Step(why, f"To read {first} task", command))
    return steps


def _by_run_and_kind(findings: Sequence[Finding]) -> dict[tuple[str, Kind], list[Finding]]:
    return grouped(findings, lambda finding: (finding.run, finding.kind))
