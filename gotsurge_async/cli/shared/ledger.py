"""The ledger that a command uses, and the runs in it."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
from msgspec import structs

from gotsurge_async.after.reading import refuse_older
from gotsurge_async.cli.shared.connect import SIMULATED, Target, is_real, read_settings
from gotsurge_async.cli.shared.exits import Exit, WrongUse
from gotsurge_async.cli.shared.options import OUTPUT, PATH, Decorator, gathered, in_group
from gotsurge_async.cli.shared.output import say
from gotsurge_async.clock import SystemClock
from gotsurge_async.config import Environment
from gotsurge_async.database import Kind, Place, driver_of, place_of
from gotsurge_async.errors import ConfigError, UsageError
from gotsurge_async.ledger import Ledger, Mode, Run, RunInfo, RunState
from gotsurge_async.ledger.sql.runs import refuse_other_server
from gotsurge_async.ledger.sql.store import Backend
from gotsurge_async.ledger.upkeep.check import refuse_unfit
from gotsurge_async.ledger.upkeep.counter import Keeper
from gotsurge_async.push.changes import Known, compare
from gotsurge_async.push.map_use import MAP, MapUse
from gotsurge_async.system.files import user_folder
from gotsurge_async.tables.checks.words import number_of, verb

EARLIER_RUNS = 1_000
"""The number of earlier runs that are checked for pushed orders."""
OUT = Path("gotsurge-results")
"""The folder of the result files without ``--out``."""

_option = in_group(OUTPUT)
ledger_option: Decorator[Any] = _option(
    "--ledger PATH|URL",
    "The ledger (or GOTSURGE_LEDGER): a file, or postgresql://USER@HOST/NAME.  [default: as gotsurge push --help says]",
    callback=lambda _, __, value: None if value is None else place_named(value, "--ledger"),
)
new_ledger_option: Decorator[Any] = _option(
    "--new-ledger",
    "Begin a second ledger for an account. It does not know what other ledgers of this machine pushed there, and "
    "would send it again.",
)
env_option: Decorator[Any] = _option(
    "--env",
    "Look only at what belongs to this GotSurge. Without --ledger it also chooses the ledger.",
    type=click.Choice((SIMULATED, "local", "sandbox", "production")),
)
out_option: Decorator[Any] = _option("--out", "The folder of the result files.", type=PATH, default=OUT)
quiet_option: Decorator[Any] = _option(
    "--quiet", "Show no progress on stderr, and no preview unless a map must be accepted."
)


def find_ledger(option: Place | None, target: Target, out: Path = OUT) -> Place:
    """The ledger of ``--ledger`` or GOTSURGE_LEDGER; else that of the user's real pushes, or one in ``out``."""
    if option is not None:
        return option
    if where := os.environ.get("GOTSURGE_LEDGER"):
        return place_named(where, "GOTSURGE_LEDGER")
    return place_of((user_folder("data") if target.is_real else out) / "ledger.db")


def shared_ledger(option: Place | None) -> Place:
    """The ledger of ``--ledger`` or GOTSURGE_LEDGER, which many machines can share."""
    place = find_ledger(option, Target())
    if place.kind is not Kind.POSTGRESQL:
        raise WrongUse(
            "only a ledger in PostgreSQL can serve many machines: give --ledger postgresql://USER@HOST/NAME, or "
            "set GOTSURGE_LEDGER",
            "E701",
        )
    return place


def place_named(text: str, name: str) -> Place:
    """The place in the value of an option, or of a variable with this name."""
    try:
        place = place_of(text)
        driver_of(place)
    except ConfigError as error:
        raise WrongUse(f"{name}: {error}", error.explain_code) from None
    return place


def find_ledger_of(ledger: Place | None, env: str | None) -> Place:
    """The ledger of a command that makes no calls, which may concern a throw-away simulator's runs."""
    return find_ledger(ledger, Target(simulate=env == SIMULATED, env=env))


takes_ledger: Decorator[Any] = gathered("ledger", find_ledger_of, ledger_option, env_option)
"""The options of a command that needs only the ledger; the command gets its place as its argument ``ledger``."""


@asynccontextmanager
async def open_ledger(where: Place, *, look: bool = False) -> AsyncIterator[Ledger]:
    """Open a ledger that exists; ``look`` only reads it, even an older copy, a damaged one, or one not writable."""
    await asyncio.to_thread(must_exist, where)
    opening = Ledger.look if look else Ledger.open
    async with await opening(where, clock=SystemClock().now) as ledger:
        yield ledger


def must_exist(where: Place) -> None:
    """Raise an error if the place has no ledger."""
    if not _is_there(where):
        why = (
            f"there is no ledger at {where}: pass the right path with --ledger; for real orders, pass --env sandbox "
            "or production"
        )
        raise ConfigError(why, "E501")


def _is_there(where: Place) -> bool:
    """Whether there is a ledger; raises LedgerOlder if there was one."""
    is_there = Backend(where).is_there()
    Keeper(where).refuse_loss(is_there=is_there)
    return is_there


async def known_to(where: Place, run: Run, target: Target, out: Path = OUT) -> Known:
    """Compare a run in a temporary ledger with a push's ledger; summaries in ``out`` may show a newer copy of that."""
    if not await asyncio.to_thread(_is_there, where):
        return Known()
    async with open_ledger(where, look=True) as ledger:
        await asyncio.to_thread(refuse_unfit, where, SystemClock().now)
        await refuse_older(ledger, out)
        known = await compare(run, ledger, target.environment)
        use = MapUse.remembered(run.info.options)
        if use is None:
            return known
        last = last_use(await ledger.runs(EARLIER_RUNS), use.name)
        return known if last is None else structs.replace(known, differs=tuple(use.unlike(last)))


def accepted_maps(runs: Iterable[RunInfo]) -> set[str]:
    """The digests of map uses that a person has accepted: those of real runs that were loaded whole."""
    return {info.options[MAP]["digest"] for info in runs if MAP in info.options and _was_real(info)}


def last_use(runs: Iterable[RunInfo], name: str) -> MapUse | None:
    """The last use of a map of this name with a real GotSurge; ``runs`` begins with the newest."""
    uses = (MapUse.remembered(info.options) for info in runs if _was_real(info))
    return next((use for use in uses if use is not None and use.name == name), None)


def _was_real(info: RunInfo) -> bool:
    return is_real(info.environment) and info.state is not RunState.LOADING


def ending_of(*, in_doubt: int, left_out: bool, changed: int) -> Exit:
    """The exit code for a check of a file: that of its push, as far as the ledger can tell."""
    if in_doubt:
        return Exit.IN_DOUBT
    if left_out:
        return Exit.STOPPED
    return Exit.CHANGED if changed else Exit.CREATED


def target_of(run: RunInfo, target: Target) -> Target:
    """The target for a command about a run: its own environment and server, and the account that made it.

    UsageError where the options, the environment variables or the profile choose another one.
    """
    if run.environment == SIMULATED:
        raise UsageError(f"run {run.id} was sent to a throw-away simulator, which is gone: push its file again", "E527")
    if target.environment != run.environment:
        why = f"run {run.id} belongs to {run.environment}, not to {target.environment}: pass --env {run.environment}"
        raise UsageError(why, "E527")
    account, usual = run.options.get("account") or None, None
    if not target.is_real:  # of a simulator's two accounts, only one can have drafts, and the other is the usual one
        usual = "platform" if run.mode is Mode.TWO_PHASE else "plain"
    if target.account and target.account != (account or usual):
        name = f"the account {account}" if account else "the usual account"
        why = f"run {run.id} was made with {name}, not with {target.account}: leave out --account"
        raise UsageError(why, "E527")
    if account is None and run.mode is Mode.TWO_PHASE:
        account = usual
    return structs.replace(target, account=account, api_base=_api_base_for(run, target))


def _api_base_for(run: RunInfo, target: Target) -> str | None:
    """The API base that a command about a run must name, if any; OtherServer where another server is chosen."""
    own: str | None = run.options.get("api_base")
    if own is None:
        return target.api_base
    named = target.api_base or os.environ.get("GOTSURGE_API_BASE")
    settings = read_settings(structs.replace(target, api_base=named or own))
    chosen = named or settings.profile.api_base
    if chosen:
        refuse_other_server(run, chosen, "pass --api-base")
    return target.api_base if chosen else api_base_of(run)


def refuse_run_elsewhere(run: RunInfo, target: Target) -> None:
    """Raise OtherServer if a target chooses another server than a run's."""
    _api_base_for(run, target)


def api_base_of(run: RunInfo, *, other_shell: bool = False) -> str | None:
    """The API base of a run, unless it is that of this shell, or, where this shell has none, of its environment.

    ``other_shell``: for a command that another machine may run, which need not have the variables of this one.
    """
    api_base: str | None = run.options.get("api_base")
    named = None if other_shell else os.environ.get("GOTSURGE_API_BASE")
    if api_base is None or named:
        return None if api_base == named else api_base
    try:
        return None if Environment.named(run.environment).api_base == api_base else api_base
    except ConfigError:  # local has none of its own
        return api_base


def is_of(run: RunInfo, target: Target) -> bool:
    """Whether a run may be continued with a target, see `target_of`."""
    try:
        target_of(run, target)
    except UsageError:
        return False
    return True


def own_runs(runs: Iterable[RunInfo], target: Target) -> tuple[list[RunInfo], list[RunInfo]]:
    """The loaded runs of the target's environment, and those of another account or server, which are passed over."""
    loaded = [run for run in runs if run.environment == target.environment and run.state is not RunState.LOADING]
    own, others = [run for run in loaded if is_of(run, target)], [run for run in loaded if not is_of(run, target)]
    if others:
        are = verb(len(others), "is", "are")
        say(f"{number_of(len(others), 'run')} of another account or API base {are} skipped")
    return own, others
