"""What to type next about a run: one place makes these commands, for the end of a push and for ``gotsurge status``."""

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from gotsurge_async.bulk import Ledger, Mode, OrderState
from gotsurge_async.bulk.ledger import DOUBTFUL, WAITING, Counts, RunInfo, Word, word_of
from gotsurge_async.cli.shared.books import OUT
from gotsurge_async.cli.shared.connect import SIMULATED, Target, default_ledger
from gotsurge_async.config import Environment
from gotsurge_async.errors import ConfigError

ELSEWHERE = "FOLDER"
"""Stands in a command for a folder that can be written, which a person must name."""


@attrs.frozen
class Step:
    """One command, and what it is for."""

    why: str
    command: str

    def __str__(self) -> str:
        return f"{self.why}: {self.command}"


@attrs.frozen(kw_only=True)
class Standing:
    """Where a run stands, as far as the next step hangs on it.

    Attributes:
        counts: the words of the summary, such as ``in_doubt``, each with its number of orders.
        files: the result files by the names of `Summary.files`; empty if none were written.
        ledger: the file.
        out: the folder of the result files.
        sign_in: whether there is no token that works.
        results_failed: whether the result files could not be written.
        elsewhere: whether all that is in doubt is so in another run, which has the keys.
    """

    info: RunInfo
    counts: Mapping[str, int]
    ledger: str | Path
    files: Mapping[str, str] = attrs.field(factory=dict)
    out: Path = OUT
    sign_in: bool = False
    results_failed: bool = False
    elsewhere: bool = False


def to_do(counts: Counts) -> dict[str, int]:
    """The orders of a run for which there is something to do, by their words."""
    words = {word.value: counts.of(state for state in OrderState if word_of(state) is word) for word in Word}
    # What another run has taken over is that run's.
    return {**words, Word.UNPROCESSED.value: counts.of(WAITING)}


async def doubts_elsewhere(ledger: Ledger, run_id: str, counts: Counts) -> bool:
    """Whether the orders of a run that are in doubt are all so in another run, which has their keys."""
    if not counts.of(DOUBTFUL):
        return False
    async for _ in ledger.rows(run_id, DOUBTFUL, batch=1):
        return False
    return True


def next_steps(standing: Standing) -> list[Step]:
    """The commands that go on with a run, the most pressing first."""
    return list(_steps(standing))


def cancelling(info: RunInfo) -> str:
    """How a task, or a draft, of a run is cancelled; "" where nobody could."""
    if info.environment == SIMULATED:
        return ""
    api_base, account = _api_base(info), info.options.get("account")
    return _command(
        "tasks cancel ID",
        f"--env {info.environment}",
        f"--api-base {shlex.quote(api_base)}" if api_base else "",
        f"--account {shlex.quote(account)}" if account else "",
        '--reason "unused draft"',
    )


def _steps(standing: Standing) -> Iterator[Step]:
    info, counts = standing.info, standing.counts
    simulated = info.environment == SIMULATED
    if standing.results_failed:
        yield Step("the result files, in another folder", _command("results", _which(standing), f"--out {ELSEWHERE}"))
    if standing.sign_in and info.environment not in (SIMULATED, "local"):  # a simulator signs in by itself
        account = info.options.get("account")
        named = f"--account {shlex.quote(account)}" if account else ""
        yield Step("sign in", _command("auth login", f"--env {info.environment}", named))
    if number := counts.get("in_doubt", 0):
        yield from _settle(standing, f"{number:,} in doubt", simulated)
    if number := counts.get("unprocessed", 0):
        why = f"{number:,} unprocessed"
        if not simulated:
            yield Step(why, _command("resume", _which(standing, calls=True), _out(standing)))
        elif (file := standing.files.get("unprocessed")) is not None:
            yield Step(why, _push(standing, file))
    if number := counts.get("refused", 0):
        file = standing.files.get("failed")
        if file is not None:
            yield Step(f"{number:,} refused, when {file} is mended", _push(standing, file))
        elif not simulated:
            yield Step(f"{number:,} refused", _command("retry", _which(standing, calls=True)))
    if (number := counts.get("changed", 0)) and not simulated:
        yield from _changed(standing, f"{number:,} changed since they were sent")


def _changed(standing: Standing, why: str) -> Iterator[Step]:
    file = standing.files.get("changed")
    if file is None:
        if not standing.results_failed:
            yield Step(f"{why}: the file of them", _command("results", _which(standing), _out(standing)))
    elif standing.info.mode is Mode.TWO_PHASE:
        yield Step(f"{why}: to change their tasks", f"{_push(standing, file)} --replace-changed")
    else:  # a plain partner cannot change a task
        place = _which(standing, calls=True).removeprefix(f"{standing.info.id} ")
        first = f"{why}: take each back first, in the run that pushed it, which the file says"
        yield Step(first, _command("undo", "RUN", place, "--key KEY"))
        yield Step("and then push what they say now", _push(standing, file))


def _settle(standing: Standing, why: str, simulated: bool) -> Iterator[Step]:
    if standing.elsewhere:
        place = _which(standing, calls=True).removeprefix(f"{standing.info.id} ")
        if not simulated:
            yield Step(f"{why}, in earlier runs", _command("reconcile", place))
        return
    if simulated or standing.info.mode is Mode.DIRECT:  # a plain partner has no list in which reconcile could look
        yield from _by_hand(standing, why)
    if not simulated:
        yield Step(why, _command("reconcile", _which(standing, calls=True)))


def _by_hand(standing: Standing, why: str) -> Iterator[Step]:
    ending = "jsonl" if standing.info.columns is None else "csv"
    name = f"{standing.info.id}-in-doubt.{ending}"
    file = Path(standing.files.get("in_doubt", standing.out / name))
    if standing.results_failed:
        file = Path(ELSEWHERE) / name  # where the first step writes it
    elif not file.exists():
        yield Step(f"{why}: the file of them", _command("results", _which(standing), _out(standing)))
    filled_in = _command("resolve", _which(standing), f"--file {shlex.quote(str(file))}")
    yield Step(f"{why}, when you have looked them up and filled in what you found", filled_in)


def _command(name: str, *words: str) -> str:
    return " ".join(["gotsurge", name, *(word for word in words if word)])


def _which(standing: Standing, *, calls: bool = False) -> str:
    """The run, and the options that are needed to find it; with ``calls`` also those to reach its GotSurge."""
    words = [standing.info.id, f"--env {standing.info.environment}"]
    if calls and (api_base := _api_base(standing.info)):
        words.append(f"--api-base {shlex.quote(api_base)}")
    return " ".join([*words, *_ledger(standing)])


def _ledger(standing: Standing) -> list[str]:
    target = Target(simulate=standing.info.environment == SIMULATED, env=standing.info.environment)
    if Path(standing.ledger).resolve() == default_ledger(target, OUT).resolve():
        return []
    return [f"--ledger {shlex.quote(str(Path(standing.ledger).absolute()))}"]


def _out(standing: Standing) -> str:
    if standing.results_failed:
        return f"--out {ELSEWHERE}"
    return "" if standing.out == OUT else f"--out {shlex.quote(str(standing.out))}"


def _api_base(info: RunInfo) -> str | None:
    """The API base of a run, unless its environment or this shell says it."""
    api_base: str | None = info.options.get("api_base")
    if api_base is None or api_base == os.environ.get("GOTSURGE_API_BASE"):
        return None
    try:
        return None if Environment.named(info.environment).api_base == api_base else api_base
    except ConfigError:  # local has none of its own
        return api_base


def _push(standing: Standing, file: str) -> str:
    """A push of a result file, read as the source was."""
    info = standing.info
    place = "--simulate" if info.environment == SIMULATED else f"--env {info.environment}"
    api_base, account = _api_base(info), info.options.get("account")
    return _command(
        "push",
        shlex.quote(file),
        place,
        f"--api-base {shlex.quote(api_base)}" if api_base else "",
        f"--account {shlex.quote(account)}" if account else "",
        *map(shlex.quote, info.options.get("reading", ())),
        *_ledger(standing),
        _out(standing),
    )
