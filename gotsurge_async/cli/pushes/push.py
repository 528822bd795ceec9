"""``gotsurge push``: pushes a file of orders to GotSurge."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import structs

from gotsurge_async.after.reading import refuse_older
from gotsurge_async.api.endpoints import PLATFORM_TASKS_UPDATE
from gotsurge_async.cli.files.faults import Mending, as_plain, takes_mending
from gotsurge_async.cli.files.first_time import FirstTime, look, preview_of
from gotsurge_async.cli.fleet.seen import Seen, takes_seen
from gotsurge_async.cli.shared.connect import Target, connected, takes_target
from gotsurge_async.cli.shared.exits import Exit, Failure, WrongUse, about_run, asynchronous
from gotsurge_async.cli.shared.ledger import (
    EARLIER_RUNS,
    ending_of,
    find_ledger,
    known_to,
    ledger_option,
    new_ledger_option,
    out_option,
    quiet_option,
    shared_ledger,
)
from gotsurge_async.cli.shared.options import (
    OUTPUT,
    PATH,
    THE_FILE,
    Decorator,
    GroupedCommand,
    in_group,
    json_option,
    together,
)
from gotsurge_async.cli.shared.output import as_json, at_a_terminal, confirmed, counted, finish
from gotsurge_async.cli.shared.push_options import (
    check_distributed,
    concurrency,
    file_or_query,
    for_target,
    rate,
    reading_words,
    refused_chunk,
    sending,
    takes_brakes,
    takes_canary,
    takes_distributed,
    takes_source,
)
from gotsurge_async.cli.shared.sending import Sending, SendOptions, try_out
from gotsurge_async.client import GotSurge
from gotsurge_async.clock import SystemClock
from gotsurge_async.config import Limits
from gotsurge_async.database import Place
from gotsurge_async.errors import Coded, UsageError
from gotsurge_async.ledger import Admission, Ledger, LedgerError, Mode, OrderState, Run, RunHeld, Similar
from gotsurge_async.ledger.sql.runs import API_BASE, is_at, service_of
from gotsurge_async.ledger.states import in_words
from gotsurge_async.push.brakes import Brakes
from gotsurge_async.push.changes import ChangedRow, Known
from gotsurge_async.push.map_use import MapNotAccepted, watched
from gotsurge_async.push.plan import Plan, check_plan, held_to, make_plan
from gotsurge_async.push.push import Push
from gotsurge_async.system import loops
from gotsurge_async.tables import STDIN, Source, SourceOptions
from gotsurge_async.tables.checks.words import number_of, verb
from gotsurge_async.tables.source import Left

if TYPE_CHECKING:
    from gotsurge_async.after.replace import Replaced

SHOWN_WARNINGS = 10

_sending_options = together(
    sending("--plan PLAN.json", "Push only the very file that this plan was made of (gotsurge plan).", type=PATH),
    sending("--dry-run", "Read and check the file; send nothing, and write nothing but --faults."),
    sending(
        "--mode",
        "How orders are sent: two-phase (drafts, then their broadcast: exactly once) is for platform partners; "
        "direct is at most once; auto asks what the account may do.",
        type=click.Choice(("auto", "two-phase", "direct")),
        default="auto",
    ),
    sending("--batch-size N", "How many orders stand in one call.", type=click.IntRange(1, 20), default=20),
    concurrency(
        "How many calls may be in flight at once: 16 in the beginning, more while answers stay quick.",
        default=Limits().concurrency,
    ),
    rate("How many calls may begin in a second; with --distributed, of all workers together.  [default: no limit]"),
    refused_chunk("hold in direct mode, split in two-phase"),
    takes_distributed,
    sending(
        "--replace-changed", "Change the tasks of orders that were pushed before and differ now (platform partners)."
    ),
    sending(
        "--not-sent-before",
        "After gotsurge ledger accept-older: send also orders that nothing shows to be new. You say that no lost "
        "run sent them.",
    ),
)


_accept_map: Decorator[Any] = in_group(THE_FILE)(
    "--accept-map",
    "Send what the map reads without a question, also where the map, or the columns of the file, are new.",
)


@click.command(cls=GroupedCommand)
@click.argument("file", metavar="[FILE]", required=False)
@takes_source
@_accept_map
@takes_mending
@takes_target
@_sending_options
@takes_canary
@takes_brakes
@ledger_option
@new_ledger_option
@in_group(OUTPUT)("--compact", "Keep the orders compressed in the ledger: smaller, a little slower.")
@out_option
@json_option
@quiet_option
@takes_seen
def push(target: Target, ledger: Place | None, out: Path, dry_run: bool, **options: Any) -> Exit | None:
    """Push FILE, a table or JSON Lines of orders, into GotSurge; - reads standard input.

    Tables are CSV and TSV, also packed (.gz), .xlsx, .xls and .ods, Parquet, and what a database answers (--sql).
    Columns of another table are read through a map (--map; gotsurge map draft FILE proposes one).

    The whole file is checked before anything is sent; while one row is wrong nothing is, unless --leave-faulty leaves
    it out. Every order is in a ledger before it is sent, so an order is never sent twice: not after a lost answer, not
    when the same file is pushed again. An order whose answer was lost is in doubt, and named. An order that was pushed
    before and differs now is not sent; the fields that differ are shown.

    The ledger of simulated pushes is ledger.db in the --out folder. Real ones share one ledger in your data folder,
    unless --ledger or GOTSURGE_LEDGER names another: a file, or postgresql://USER@HOST/NAME for many machines, with the
    password in PGPASSWORD or in ~/.pgpass.

    Result files in --out: RUN-created, RUN-refused, RUN-unprocessed, RUN-in-doubt and RUN-summary.json, and where there
    are such orders RUN-cancelled and RUN-changed. All but the in-doubt file can be pushed again. The folder is tried
    before anything is sent. With --json there is one document on standard output, however it ends, but for Ctrl-C
    while the command is still being loaded.

    Credentials come from GOTSURGE_CLIENT_KEY, GOTSURGE_SECRET_KEY, GOTSURGE_BEARER_TOKEN and GOTSURGE_REFRESH_TOKEN;
    a bearer token alone is enough.

    \b
    Exit codes:
      0 all created                    5 a part was not sent: a limit, or rows left out
      1 some refused, or cancelled     6 another process has the run
      2 wrong usage or input           7 some rows were changed since they were sent
      3 some in doubt                  8 the service cannot be reached; nothing is in doubt
      4 sign-in failed                 9 sent, but no result files: gotsurge results RUN
      130, 143 interrupted by Ctrl-C, by SIGTERM (once drains, twice aborts)
    """
    options["file"] = file_or_query(options["file"], options["source"])
    if not dry_run:
        target.check()
    check_distributed(**options)
    if options["distributed"] and not dry_run:
        if target.simulate:
            raise WrongUse(
                "--distributed cannot use --simulate, whose simulator ends with this command: run gotsurge simulator, "
                "then pass --env local"
            )
        ledger = shared_ledger(ledger)
    reading = reading_words(click.get_current_context().params)
    options |= {"source": for_target(options["source"], target), "reading": reading}
    pushed = PushOptions(target=target, ledger=find_ledger(ledger, target, out), out=out, **options)
    try:
        return _push(options=pushed, dry_run=dry_run)
    except MapNotAccepted:
        if not (at_a_terminal() and not as_json() and pushed.file != STDIN):
            raise
    # Asked outside of an event loop, which would not notice Ctrl-C before a line is typed.
    known = partial(known_to, pushed.ledger, target=target, out=out)
    seen = loops.run(look(pushed.file, pushed.source, pushed.mending, known))
    if not confirmed(f"Send {number_of(seen.orders - seen.already_pushed, 'order')} as shown?"):
        raise Failure(Coded("nothing was sent", "E112"), Exit.USAGE)
    return _push(options=structs.replace(pushed, accept_map=True, seen_plan=seen), dry_run=False)


@asynchronous
async def _push(options: "PushOptions", *, dry_run: bool) -> Exit:
    pushing = Pushing(options)
    return await (pushing.dry_run() if dry_run else pushing.run())


class PushOptions(SendOptions, frozen=True, kw_only=True):
    """The options of a push; ``accept_map`` accepts a map, or columns of the file, that are new.

    Attributes:
        seen_plan: the plan that a person has seen and accepted: only its file is sent.
        canary: the number of orders that are sent first; None for the default.
    """

    file: str
    source: SourceOptions
    mending: Mending
    plan: Path | None
    mode: str
    batch_size: int
    concurrency: int
    replace_changed: bool
    not_sent_before: bool
    compact: bool
    seen: Seen
    reading: Sequence[str]
    accept_map: bool
    seen_plan: Plan | None = None
    canary: int | None

    def remembered(self, api_base: str) -> Mapping[str, Any]:
        """The values that the ledger stores with the run, to resume it and to write its result files again."""
        return {
            "delimiter": self.source.delimiter,
            "batch_size": self.batch_size,
            "compact": self.compact,
            "concurrency": self.concurrency,
            "rate": self.rate,
            "on_refused_chunk": self.on_refused_chunk,
            "account": self.target.account,
            "mode": None if self.mode == "auto" else self.mode,
            # The address of a throw-away simulator may belong to another one tomorrow.
            "api_base": None if self.target.simulate else api_base,
            "reading": list(self.reading),
            "out": str(self.out),
            "distributed": self.distributed,
        }

    @property
    def size(self) -> int:
        """An estimate of the bytes of the result files: the rows, and the outcome of each."""
        try:
            return 2 * Path(self.file).stat().st_size if self.file != STDIN else 0
        except OSError:  # a missing file is reported where it is opened
            return 0


class Pushing(Sending):
    """One push of one file."""

    def __init__(self, options: PushOptions) -> None:
        super().__init__(options)
        self._options = options
        self._not_read: tuple[str, ...] = ()
        self._first = FirstTime((), options.target, accepted=True)

    async def dry_run(self) -> Exit:
        """Check the file as `gotsurge plan` does; nothing is sent, and the ledger is only read."""
        options = self._options

        async def check(source: Source) -> tuple[Plan, Left | None]:
            async def known(run: Run) -> Known:
                self._list_warnings(source)
                self._list_similar(await run.similar(), run)
                return await known_to(options.ledger, run, options.target, options.out)

            watching = watched(self._as_planned(source), options.source)
            plan = await make_plan(watching, now=options.source.now, zone=options.source.zone(), known=known)
            return plan, source.left

        made, left = await options.mending.read(options.file, options.source, check)
        code = ending_of(in_doubt=made.in_doubt, left_out=made.left_out > 0, changed=made.changed_count)
        if made.changed_count:
            self._list_changed(made.changed, made.already_pushed, made.changed_count)
        document = {
            "orders": made.orders,
            "left_out": made.left_out,
            "faults": [] if left is None else [*map(as_plain, left.report.faults)],
            "already_pushed": made.already_pushed,
            "in_doubt": made.in_doubt,
            "changed": made.changed,
            "changed_count": made.changed_count,
            "preview": made.preview,
        }

        def show() -> None:
            for line in () if options.quiet or made.preview is None else made.preview.lines(options.source.zone()):
                click.echo(line)
            words = counted({"already pushed": made.already_pushed - made.in_doubt, "in doubt": made.in_doubt})
            of_them = f", of them {words}" if words else ""
            rest = "no faults" if left is None else f"{number_of(left.rows, 'row')} with faults left out"
            click.echo(f"{number_of(made.orders, 'order')}{of_them}, {rest}; nothing was sent")

        return finish(document, code, show)

    async def _run(self) -> Exit:
        options = self._options
        await try_out(options.out, options.size, "nothing was sent")
        async with (
            options.seen.served(),
            connected(options.target, Limits(concurrency=options.concurrency, rate=options.rate)) as gs,
            await Ledger.open(options.ledger, clock=SystemClock().now) as ledger,
        ):
            options.seen.watch(gs)
            await refuse_older(ledger, options.out)
            self._first = FirstTime(await ledger.runs(EARLIER_RUNS), options.target, options.accept_map)
            push = Push(
                gs,
                ledger,
                chunk=options.batch_size,
                compact=options.compact,
                environment=options.target.environment,
                on_refused_chunk=options.on_refused_chunk,
                new_ledger=options.new_ledger,
                register=not options.target.simulate,
                not_sent_before=options.not_sent_before,
            )
            self._warn_of_other_places(gs.environment.api_base)
            if options.mode == "auto":
                push.check_endpoints(*Mode)  # before the service is asked, and the file is read
                await push.choose_mode()
            else:
                push.mode = Mode(options.mode)
            push.check_endpoints()
            if options.replace_changed:
                if push.mode is Mode.DIRECT:
                    why = "--replace-changed works only for platform partners: a plain partner cannot change a task"
                    raise UsageError(why, "E609")
                gs.session.require(PLATFORM_TASKS_UPDATE)
            with options.seen.published(options.distributed) as trace:
                try:
                    run, admission = await self._load(push, gs.environment.api_base, trace)
                except RunHeld:
                    raise
                except LedgerError as error:  # a run that was not loaded to its end cannot be resumed
                    what = "query" if options.source.query else "file" if options.file != STDIN else "input"
                    error.add_note(f"nothing was sent: when this is corrected, push the same {what} again")
                    raise
            about_run(run.id)
            push.brakes = await self._brakes(ledger, run, admission.pending)
            self._report_first_pushed(admission)
            if admission.changed:
                await self._handle_changed(gs, push, run, admission)
            return await self._deliver(gs, ledger, push, run, waiting=admission.pending)

    def _as_planned(self, source: Source) -> Source:
        """The same source, with a fault if it is not the file of ``--plan``."""
        return source if self._options.plan is None else check_plan(self._options.plan, source)

    async def _load(self, push: Push, api_base: str, trace: Mapping[str, Any]) -> tuple[Run, Admission]:
        options = self._options

        async def load(source: Source) -> tuple[Run, Admission]:
            source = self._as_planned(source)
            if options.seen_plan is not None:
                source = held_to(options.seen_plan, source)
            source = watched(source, options.source, self._first.check)
            loaded = await push.load_source(source, options={**options.remembered(api_base), **trace})
            self._not_read = source.not_read
            self._list_warnings(source)
            return loaded

        run, admission = await options.mending.read(options.file, options.source, load, sends=True)
        try:
            self._list_similar(await run.similar(), run)
        except BaseException:
            await run.close()
            raise
        return run, admission

    async def _brakes(self, ledger: Ledger, run: Run, pending: int) -> Brakes:
        """The brakes of a push. A push that is new to a real GotSurge gets a canary, and is shown at a terminal."""
        options = self._options
        for difference in self._first.unlike(run):
            self.say(f"warning: {difference}")
        is_new = await self._first.is_new(ledger, run)
        if is_new and options.seen_plan is None and at_a_terminal() and not (as_json() or options.quiet):
            for line in (await preview_of(run, options.source, self._not_read)).lines(options.source.zone()):
                self.say(line)
        canary = int(is_new and pending > options.batch_size) if options.canary is None else options.canary
        return structs.replace(options.brakes, canary=canary)

    def _report_first_pushed(self, admission: Admission) -> None:
        """Report orders that are archived, and those pushed first since an older copy of the ledger was accepted."""
        if admission.archived:
            orders = number_of(admission.archived, "already pushed order is", "already pushed orders are")
            differ = verb(admission.archived, "it differs", "they differ")
            self.say(f"{orders} archived: the ledger no longer shows whether {differ} from what was sent")
        if admission.created:
            orders = number_of(admission.created, "order was", "orders were")
            self.say(
                f"{orders} found on the Task List, sent by a run that this ledger lacks, and now recorded as created"
            )
        if admission.held_back:
            number = admission.held_back
            orders, are, them = number_of(number, "order"), verb(number, "is", "are"), verb(number, "it", "them")
            has_none = verb(number, "does not have it", "has none of them")
            self.say(
                f"{orders} {are} not sent, and {are} in doubt: the ledger is an older copy, and a run that is missing "
                f"from it may have sent {them}. Look {them} up at GotSurge, and resolve {them}. If GotSurge "
                f"{has_none}, run the same command with --not-sent-before. If you know that no run is missing, end "
                "these checks: gotsurge ledger accept-older --nothing-was-lost"
            )

    async def _handle_changed(self, gs: GotSurge, push: Push, run: Run, admission: Admission) -> None:
        """List the orders that were pushed before and differ now, and with --replace-changed change their tasks."""
        try:
            if self._options.replace_changed:
                from gotsurge_async.cli.pushes.changing import change_tasks  # few pushes change tasks

                self._begun, self._changing, self._interrupts.on_stop = run, True, push.stop
                done = await change_tasks(gs, run, self._options.concurrency, self._interrupts, self.say)
                self.replaced: Replaced | None = done
                self._changing = False
                if self._interrupts.code is not None or not (done.left or done.unknown or done.stopped_by):
                    return
            changed: list[ChangedRow] = []
            async for row in run.rows((OrderState.CHANGED,), batch=SHOWN_WARNINGS):
                changed.append(ChangedRow(line=row.line, key=row.key, reason=row.error or ""))
                if len(changed) == SHOWN_WARNINGS:
                    break
            self._list_changed(changed, admission.already_pushed, (await run.counts()).changed)
            if run.info.mode is Mode.TWO_PHASE and not self._options.replace_changed:
                self.say("--replace-changed changes their tasks, where they are still open")
        except BaseException:
            await run.close()
            raise

    def _list_changed(self, changed: Sequence[ChangedRow], already: int, count: int) -> None:
        differ = number_of(count, "of them differs", "of them differ")
        self.say(f"{already:,} already pushed, {differ} from what was sent:")
        for order in changed[:SHOWN_WARNINGS]:
            self.say(f"  {self._options.file}:{order}")
        if count > SHOWN_WARNINGS:
            self.say(f"  … and {count - SHOWN_WARNINGS:,} more: the result file `changed` has all")

    def _warn_of_other_places(self, api_base: str) -> None:
        """Warn if the ledger knows this server under another environment's name, or another server under this name."""
        target = self._options.target
        if target.simulate:
            return
        here = [info for info in self._first.earlier if info.environment == target.environment]
        for other in sorted({info.options[API_BASE] for info in here if not is_at(info, api_base)}):
            self.say(
                f"warning: orders were sent to {other} under the environment {target.environment}: they count as "
                f"already pushed, but are not at {api_base}"
            )
        server = service_of(api_base)
        names = {
            info.environment
            for info in self._first.earlier
            if info.environment != target.environment and service_of(info.options.get("api_base") or "") == server
        }
        for name in sorted(names):
            self.say(
                f"warning: orders were sent to {api_base} under the environment {name}: this push would create them "
                f"again, unless you use --env {name}"
            )

    def _list_warnings(self, source: Source) -> None:
        report = source.report
        warnings = report.warnings if report.warning_count <= SHOWN_WARNINGS else list(report.warning_groups)
        for warning in warnings[:SHOWN_WARNINGS]:
            self.say(f"warning: {warning}")
        if (more := len(warnings) - SHOWN_WARNINGS) > 0:
            self.say(f"… and {number_of(more, 'more kind')} of warnings")

    def _list_similar(self, similar: Sequence[Similar], run: Run) -> None:
        """Warn about orders that resemble another one: perhaps one delivery, ordered twice under two keys."""
        for order in similar[:SHOWN_WARNINGS]:
            where = f"line {order.other_line}"
            if order.other_run != run.id:
                where = f"{in_words(order.other_state)}, {where} of run {order.other_run}"
            self.say(
                f"warning: {self._options.file}:{order.line}: order {order.key} has the same {order.alike_in} as "
                f"order {order.other_key} ({where}){order.and_more}"
            )
        if len(similar) > SHOWN_WARNINGS:
            self.say(f"… and {number_of(len(similar) - SHOWN_WARNINGS, 'more order')} that look like another one")
