"""The commands to type next about a run: a push, ``gotsurge status`` and others print the same ones."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
from msgspec import Struct, field

from gotsurge_async.after.reading import form_of
from gotsurge_async.calls.stream import chunks_of
from gotsurge_async.cli.shared.connect import SIMULATED, Target
from gotsurge_async.cli.shared.ledger import OUT, api_base_of, find_ledger
from gotsurge_async.cli.shared.output import WORDS, Step, meta
from gotsurge_async.database import Kind, Place
from gotsurge_async.ledger import (
    DOUBTFUL,
    OWNED_ELSEWHERE,
    UNDO,
    WAITING,
    Counts,
    Ledger,
    Mode,
    OrderState,
    RunInfo,
    Word,
    word_of,
)
from gotsurge_async.models.times import written_clock
from gotsurge_async.push.load import LEFT_OUT
from gotsurge_async.system import shell
from gotsurge_async.tables.checks.words import number_of, verb
from gotsurge_async.tables.options import ENDINGS
from gotsurge_async.tables.writing import ending_of

SHOWN_OWNERS = 3
"""The most other runs with orders in doubt that are named."""

_BLOCK = 1000
_IF_PLATFORM = "If the account is a platform partner's"
_WHAT_BECAME = "To find out what became of {them}"
_INTO_A_FILE = "To write {them} into a file"

ELSEWHERE = "FOLDER"
"""A placeholder in a command for a writable folder, which a person must name."""


class Standing(Struct, frozen=True, kw_only=True):
    """The state of a run, as far as the next steps depend on it.

    Attributes:
        counts: numbers of orders by the words of the summary, such as ``in_doubt``; and ``drafts``: those that wait for
            their broadcast although it may be under way.
        files: the result files by the names of `Summary.files`; empty if none were written.
        out: the folder of the result files, unless it is that of the run's options.
        sign_in: whether there is no token that works.
        results_failed: whether the result files could not be written.
        elsewhere: the number of orders in doubt that belong to other runs; ``owners`` names some of these runs.
        recorded: whether an order in doubt may have a recorded task, which can be read.
        was_read: whether the orders in doubt were just read at GotSurge.
        cancelling: the number of orders in doubt because a cancel of their task was not answered.
        open_until: the time until which such a cancel may act; no read settles its order before.
        settles_at: the time until which a create or broadcast of an order in doubt may act; None if that is over.
    """

    info: RunInfo
    counts: Mapping[str, int]
    ledger: Place
    files: Mapping[str, str] = field(default_factory=dict)
    out: Path | None = None
    sign_in: bool = False
    results_failed: bool = False
    elsewhere: int = 0
    owners: Sequence[str] = ()
    recorded: bool = True
    was_read: bool = False
    cancelling: int = 0
    open_until: datetime | None = None
    settles_at: datetime | None = None

    @classmethod
    async def of(cls, ledger: Ledger, info: RunInfo, counts: Counts | None = None, **more: Any) -> "Standing":
        """The state of a run according to the ledger."""
        counts = counts or await ledger.counts(info.id)
        words = {word.value: counts.of(state for state in OrderState if word_of(state) is word) for word in Word}
        words[Word.UNPROCESSED.value] = counts.of(WAITING)  # what another run has taken over is that run's
        elsewhere, recorded = counts.of(DOUBTFUL), False
        now, open_ = ledger.now(), list[datetime]()
        async for row in ledger.rows(info.id, DOUBTFUL):
            elsewhere, recorded = max(0, elsewhere - 1), recorded or bool(row.task_id)
            if row.open_until is not None and row.is_open(now) and row.state is not OrderState.CANCELLING:
                open_.append(row.open_until)
        owners = await _owners(ledger, info, elsewhere) if elsewhere and info.mode is Mode.DIRECT else ()
        states = (OrderState.CANCELLING,)
        times = [row.open_until async for row in ledger.rows(info.id, states)] if counts.of(states) else []
        return cls(
            info=info,
            counts=words,
            ledger=ledger.place,
            elsewhere=elsewhere,
            owners=owners,
            recorded=recorded,
            cancelling=len(times),
            open_until=max(filter(None, times), default=None),
            settles_at=max(open_, default=None),
            **more,
        )

    @property
    def simulated(self) -> bool:
        """Whether the run was sent to a throw-away simulator, which is gone."""
        return self.info.environment == SIMULATED

    @property
    def may_have_list(self) -> bool:
        """Whether a direct run may be of a platform partner, who has a Task List: its push asked for direct mode."""
        return self.info.options.get("mode") == Mode.DIRECT

    def place(self, *, calls: bool = False) -> str:
        """The options for the ledger; with ``calls`` also those for the run's GotSurge."""
        reach = _option("--api-base", api_base_of(self.info)) if calls else ""
        return _joined(f"--env {self.info.environment}", reach, self.ledger_option)

    def command(self, name: str, *words: str, calls: bool = False) -> str:
        """A command about the run."""
        return _joined("gotsurge", name, self.info.id, self.place(calls=calls), *words)

    @property
    def worker(self) -> str:
        """The command of a worker that sends the run, perhaps on another machine."""
        return _joined(
            f"gotsurge worker --env {self.info.environment}",
            _option("--api-base", api_base_of(self.info, other_shell=True)),
            _option("--account", self.info.options.get("account")),
            self.ledger_option,
        )

    def push(self, file: str, *words: str) -> str:
        """A push of a result file, with the options that read it as the source was read."""
        options = self.info.options
        return _joined(
            "gotsurge push",
            shell.word(file),
            "--simulate" if self.simulated else f"--env {self.info.environment}",
            _option("--api-base", api_base_of(self.info)),
            _option("--account", options.get("account")),
            _option("--mode", options.get("mode")),
            *map(shell.word, (*options.get("reading", ()), *_of_the_form(self.info))),
            self.ledger_option,
            self.out_option,
            *words,
        )

    @property
    def folder(self) -> Path:
        """The folder of the result files."""
        return self.out or Path(self.info.options.get("out") or OUT)

    @property
    def ledger_option(self) -> str:
        """``--ledger``, unless it is the default one."""
        usual = find_ledger(None, Target(simulate=self.simulated, env=self.info.environment))
        return "" if _resolved(self.ledger) == _resolved(usual) else _option("--ledger", str(self.ledger))

    @property
    def out_option(self) -> str:
        """``--out``, if the result files are not in the default folder."""
        if self.results_failed:
            return f"--out {ELSEWHERE}"
        return "" if self.folder == OUT else _option("--out", str(self.folder))


async def _owners(ledger: Ledger, info: RunInfo, doubts: int) -> Sequence[str]:
    """At most `SHOWN_OWNERS` other runs that have orders in doubt with keys of this run."""
    owners: dict[str, None] = {}
    async for rows in chunks_of(ledger.rows(info.id, OWNED_ELSEWHERE), _BLOCK):
        known = await ledger.known(info.environment, [row.key for row in rows])
        doubtful = [owner.run.id for owner in known.values() if owner.row.state in DOUBTFUL]
        owners |= dict.fromkeys(doubtful)
        doubts -= len(doubtful)
        if len(owners) >= SHOWN_OWNERS or doubts <= 0:
            break
    return [*owners][:SHOWN_OWNERS]


def _of_the_form(info: RunInfo) -> Iterator[str]:
    """Further options that a result file needs so that it is read in its form."""
    form, reading = form_of(info), info.options.get("reading", ())
    if form.format == "csv":
        if form.delimiter not in (",", "\t") and "--delimiter" not in reading:
            yield from ("--delimiter", form.delimiter)
        if form.encoding != "utf-8" and not form.bom and "--encoding" not in reading:
            yield from ("--encoding", form.encoding)
    if "--map" in reading:
        yield from ("--header-row", "1")  # the map may say where the source had it
        if form.sheet is not None:
            yield from ("--sheet", form.sheet)  # the map may name another one, which --sheet replaced


def _resolved(ledger: Place) -> Place:
    return attrs.evolve(ledger, path=ledger.path.resolve()) if ledger.kind is Kind.SQLITE else ledger


def same_again() -> str:
    """The running command, with its options, to be typed again."""
    words: list[str] = meta()[WORDS]
    return _joined("gotsurge", *(shell.word(word) for word in words if word != "--json"))


def about_task(info: RunInfo, verb: str, task_id: str, *words: str) -> str:
    """A ``gotsurge tasks`` command about a task of a run; "" if the simulator of the run is gone."""
    if info.environment == SIMULATED:
        return ""
    reach = (_option("--api-base", api_base_of(info)), _option("--account", info.options.get("account")))
    return _joined(f"gotsurge tasks {verb} {task_id}", f"--env {info.environment}", *reach, *words)


def next_steps(standing: Standing) -> list[Step]:
    """The commands that continue a run, the most urgent first."""
    return list(_steps(standing))


def _steps(standing: Standing) -> Iterator[Step]:
    info, counts, simulated = standing.info, standing.counts, standing.simulated
    if standing.results_failed:
        command = standing.command("results", f"--out {ELSEWHERE}")
        yield Step("the result files were not written", "To write them into another folder", command)
    if standing.sign_in and info.environment not in (SIMULATED, "local"):  # a simulator signs in automatically
        account = _option("--account", info.options.get("account"))
        yield Step("no token works", "To sign in", _joined("gotsurge auth login", f"--env {info.environment}", account))
    undo = info.options.get(UNDO)
    if undo is not None and not undo["ended"]:
        drafts = "--drafts" if undo["drafts"] else ""
        yield Step("the undo is not complete", "To continue it", standing.command("undo", drafts, calls=True))
    if number := counts.get("in_doubt", 0):
        if (own := number - standing.elsewhere) > 0:
            yield from _in_doubt(standing, own)
        yield from _in_doubt_elsewhere(standing)
    if undo is None:  # else what waits is sent only if a person says so
        yield from _going_on(standing)
    if number := counts.get("refused", 0):
        file = standing.files.get("refused")
        if file is not None:
            yield Step(f"{number:,} refused", f"When you have corrected {file}", standing.push(file))
        elif not simulated:
            again = f"To send {_them(number)} again"
            yield Step(f"{number:,} refused", again, standing.command("retry", calls=True))
    if (number := counts.get("changed", 0)) and not simulated:
        yield from _changed(standing, number)
    yield from _left_out(standing, **(info.options.get(LEFT_OUT) or {}))


def _left_out(
    standing: Standing,
    rows: int = 0,
    file: str | None = None,
    format: str | None = None,  # noqa: A002 - as a run remembers it
) -> Iterator[Step]:
    """The step of pushing the file with the rows that were left out."""
    if file is not None:
        is_plain = ENDINGS.get(Path(file).suffix.lower()) == format
        command = standing.push(file, "" if is_plain else f"--format {format}")
        yield Step(f"{number_of(rows, 'row')} left out", f"When you have corrected {file}", command)


def _going_on(standing: Standing) -> Iterator[Step]:
    if number := standing.counts.get("drafts", 0):
        why, when = number_of(number, "is still a draft", "are still drafts"), f"To broadcast {_them(number)}"
        yield Step(why, when, standing.command("resume", standing.out_option, calls=True))
    if number := standing.counts.get("unprocessed", 0):
        why, when = f"{number:,} unprocessed", f"To send {_them(number)}"
        if not standing.simulated:
            by_workers = "--distributed" if standing.info.options.get("distributed") else ""
            yield Step(why, when, standing.command("resume", by_workers, standing.out_option, calls=True))
        elif (file := standing.files.get("unprocessed")) is not None:
            yield Step(why, when, standing.push(file))


def _changed(standing: Standing, number: int) -> Iterator[Step]:
    why = f"{number:,} changed since {verb(number, 'it was', 'they were')} sent"
    file = standing.files.get("changed")
    if file is None:
        if not standing.results_failed:
            into_a_file = _INTO_A_FILE.format(them=_them(number))
            yield Step(why, into_a_file, standing.command("results", standing.out_option))
    elif standing.info.mode is Mode.TWO_PHASE:
        when = verb(number, "To change its task", "To change their tasks")
        yield Step(why, when, standing.push(file, "--replace-changed"))
    else:  # a plain partner cannot change a task
        first = f"To cancel {verb(number, 'its task', 'each task')} (for its RUN and KEY, see {file})"
        yield Step(why, first, _joined("gotsurge undo RUN", standing.place(calls=True), "--key KEY"))
        then = verb(number, "When its task is cancelled", "When their tasks are cancelled")
        yield Step(why, then, standing.push(file))


def _in_doubt_elsewhere(standing: Standing) -> Iterator[Step]:
    """The steps for orders that are in doubt in other runs: no command about this run settles them."""
    number = standing.elsewhere
    if standing.simulated or not number:
        return
    place, what_became = standing.place(calls=True), _WHAT_BECAME.format(them=_them(number))
    why = f"{number:,} in doubt in {'another run' if 1 in (number, len(standing.owners)) else 'other runs'}"
    if standing.info.mode is not Mode.DIRECT:
        yield Step(why, what_became, _joined("gotsurge reconcile", place))
        return
    for run_id in standing.owners:
        yield Step(why, "For the next steps", _joined("gotsurge status", run_id, standing.place()))
        if standing.may_have_list:
            yield Step(why, _IF_PLATFORM, _joined("gotsurge reconcile", run_id, place))


def _in_doubt(standing: Standing, number: int) -> Iterator[Step]:
    """The steps for the ``number`` orders that are in doubt in this run."""
    info, direct, why = standing.info, standing.info.mode is Mode.DIRECT, f"{number:,} in doubt"
    if standing.simulated:  # it is gone: there is nothing to read, and no event will come
        yield from _by_hand(standing, why, number)
        return
    if cancelling := standing.cancelling:
        cancels, when = number_of(cancelling, "cancel was", "cancels were"), _WHAT_BECAME.format(them=_them(cancelling))
        until = ""
        if standing.open_until:
            until, when = f", and may still take effect until {written_clock(standing.open_until)}", "After that"
        yield Step(f"{cancels} not answered{until}", when, standing.command("reconcile", calls=True))
        if cancelling == number:
            return
    if standing.settles_at:
        calls = verb(number, "its call", "their calls")
        why += f"; {calls} may still take effect until {written_clock(standing.settles_at)}"
    if not standing.was_read and (standing.recorded or not direct):
        yield Step(why, _WHAT_BECAME.format(them=_them(number)), standing.command("reconcile", calls=True))
    if standing.was_read or direct:
        yield from _by_hand(standing, why, number)
    if direct:  # a plain partner has no Task List: the event of a task leads to it
        account = _option("--account", info.options.get("account"))
        receiver = _joined("gotsurge receive", standing.place(calls=True), account)
        yield Step(why, f"Or, to settle {_them(number)} as events arrive", receiver)
        if standing.may_have_list and not (standing.was_read or standing.recorded):
            yield Step(why, _IF_PLATFORM, standing.command("reconcile", calls=True))


def _by_hand(standing: Standing, why: str, number: int) -> Iterator[Step]:
    name = f"{standing.info.id}-in-doubt.{ending_of(form_of(standing.info))}"
    file = Path(standing.files.get("in_doubt", standing.folder / name))
    if standing.results_failed:
        file = Path(ELSEWHERE) / name  # where the first step writes it
    elif not file.exists():
        into_a_file = _INTO_A_FILE.format(them=_them(number))
        yield Step(why, into_a_file, standing.command("results", standing.out_option))
    filled_in = standing.command("resolve", _option("--file", str(file)))
    rows = f", in {verb(number, 'its row', 'their rows')} only" if standing.elsewhere else ""
    when = f"When you have looked {_them(number)} up, and written what you found into {file}{rows}"
    yield Step(why, when, filled_in)


def _them(number: int) -> str:
    return verb(number, "it", "them")


def _joined(*words: str) -> str:
    return " ".join(filter(None, words))


def _option(name: str, value: str | None) -> str:
    return f"{name} {shell.word(value)}" if value else ""
