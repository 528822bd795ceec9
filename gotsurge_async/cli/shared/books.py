"""What the commands about earlier runs share: which ledger, which run, and whose it is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from gotsurge_async.bulk import Ledger, Mode, Run
from gotsurge_async.bulk.after.results import refuse_older
from gotsurge_async.bulk.ledger import RunInfo
from gotsurge_async.bulk.ledger.upkeep.check import refuse_unfit
from gotsurge_async.bulk.ledger.upkeep.counter import Keeper
from gotsurge_async.bulk.send.changes import Known, compare
from gotsurge_async.cli.shared.connect import SIMULATED, Target, default_ledger
from gotsurge_async.cli.shared.exits import Exit, told
from gotsurge_async.clock import SystemClock
from gotsurge_async.errors import ConfigError, UsageError

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

OUT = Path("gotsurge-results")
"""Where result files go unless ``--out`` says otherwise."""


def ledger_option(command: F) -> F:
    """The option ``--ledger``."""
    return click.option(
        "--ledger", type=click.Path(path_type=Path), metavar="PATH", help="The books; as gotsurge push finds them."
    )(command)


def books_options(command: F) -> F:
    """The options of a command that only reads and writes the ledger."""
    environment = click.option(
        "--env",
        type=click.Choice((SIMULATED, "local", "sandbox", "production")),
        help="Whose runs; it also tells which ledger, unless --ledger does.",
    )
    return environment(ledger_option(command))


def find_ledger(ledger: Path | None, env: str | None, out: Path = OUT) -> Path:
    """The ledger that the options mean."""
    return ledger or default_ledger(Target(simulate=env == SIMULATED, env=env), out)


@asynccontextmanager
async def open_books(path: Path, *, look: bool = False) -> AsyncIterator[Ledger]:
    """An existing ledger.

    Args:
        look: only to look at it: it may be older than it was, or damaged in part, and need not be ours to write.

    Raises:
        ConfigError: there is none.
    """
    await asyncio.to_thread(must_exist, path)
    opening = Ledger.look if look else Ledger.open
    async with await opening(path, clock=SystemClock().now) as ledger:
        yield ledger


def must_exist(path: Path) -> None:
    """Refuse a path where no ledger is.

    Raises:
        LedgerOlder: there was one, and it is gone.
        ConfigError: there is none.
    """
    Keeper(path).refuse_loss()
    if not path.exists():
        raise ConfigError(
            f"there is no ledger at {path}: --ledger names one, and --env sandbox or production that of real pushes"
        )


async def known_to(path: Path, run: Run, target: Target, out: Path = OUT) -> Known:
    """What the ledger that a push would use knows of the orders of a run, which is in a ledger of its own.

    Args:
        out: the folder of the push's result files, whose summaries may know of a newer copy.

    Raises:
        LedgerUnusable: it is damaged, older than it was, or gone: the push would be refused too.
    """
    await asyncio.to_thread(Keeper(path).refuse_loss)
    if not await asyncio.to_thread(path.exists):
        return Known()
    async with open_books(path, look=True) as ledger:
        await asyncio.to_thread(refuse_unfit, path, SystemClock().now)
        await refuse_older(ledger, out)
        return await compare(run, ledger, target.books)


def ending_of(*, in_doubt: int, changed: int) -> Exit:
    """How a look at a file ends: as its push would, as far as the ledger can tell."""
    if in_doubt:
        return Exit.IN_DOUBT
    return Exit.CHANGED if changed else Exit.CREATED


def document_of(known: Known) -> dict[str, Any]:
    """The same, for programs."""
    changed = [{"line": line, "key": key, "reason": reason} for line, key, reason in known.changed]
    return {
        "already_pushed": known.already_pushed,
        "in_doubt": known.in_doubt,
        "changed": changed,
        "changed_count": known.changed_count,
    }


def run_told(work: Coroutine[Any, Any, T], run: str | Callable[[], str | None] | None = None) -> T:
    """Run something to its end; what goes wrong is told on stderr and ends the process.

    Args:
        run: the run that it is about, or what gives it.
    """
    with told(run if callable(run) else lambda: run):
        return asyncio.run(work)


def target_of(run: RunInfo, target: Target) -> Target:
    """The target for going on with a run: its own environment, and the account that it was made with.

    Raises:
        UsageError: the options name another environment or account.
    """
    if run.environment == SIMULATED:
        raise UsageError(f"run {run.id} was sent to a throw-away simulator, which is gone: push its file again")
    if target.books != run.environment:
        raise UsageError(f"run {run.id} is of {run.environment}, not of {target.books}: say --env {run.environment}")
    account = run.options.get("account")
    if account and target.account and target.account != account:
        raise UsageError(f"run {run.id} was made with the account {account}, not with {target.account}")
    account = target.account or account
    if account is None and not target.is_real and run.mode is Mode.TWO_PHASE:
        account = "platform"  # of a simulator's two accounts the only one that can have made it
    return attrs.evolve(target, account=account)
