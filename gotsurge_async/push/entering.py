"""Entering the runs of a push into the register of this machine's ledgers, before any of their orders are sent."""

import asyncio
import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from contextlib import aclosing, suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field, structs

from gotsurge_async.api.endpoints import PLATFORM_TASKS_GET, PLATFORM_TASKS_LIST
from gotsurge_async.clock import to_microseconds
from gotsurge_async.config import name_in_ledgers
from gotsurge_async.errors import CallError, Forbidden, NotFound, SignInNeeded, Unauthorized
from gotsurge_async.ledger import PUSHED, Ledger, Mode, Run
from gotsurge_async.ledger.errors import LedgerError, OrdersThere
from gotsurge_async.ledger.sql.runs import API_BASE, is_at, service_of
from gotsurge_async.ledger.sql.runs import account_of as account_of_run
from gotsurge_async.ledger.upkeep.register import Account, Keys, Register
from gotsurge_async.models.tasks import ENDED_EARLY
from gotsurge_async.models.words import folded
from gotsurge_async.resources.listing import listing, read_names
from gotsurge_async.resources.reading import task_of
from gotsurge_async.tables.checks.words import number_of
from gotsurge_async.transports.base import Request, TransportError
from gotsurge_async.transports.memory import MemoryTransport

if TYPE_CHECKING:
    from gotsurge_async.client import GotSurge
    from gotsurge_async.models.answers import Task

log: logging.Logger = logging.getLogger(__name__)

NEWEST, PAGE = 10_000, 200
"""The first push of a new ledger reads this many tasks, the newest first, in pages of at most so many."""
NAMED = 5
NEWEST_RUNS = 1000
"""The number of earlier runs whose server is checked."""

TRIES = 3
"""So many readings of a list that is not whole count as one that is: more would show no more."""
UNCHECKED = "last_unchecked_run"
"""The name under which a ledger remembers the last run with tasks from before it noted the accounts' checks."""


class Entering(Struct):
    """Enters the runs of one ledger; ``new_ledger``: the user decided to begin another ledger for the account."""

    gs: "GotSurge"
    ledger: Ledger
    new_ledger: bool = False
    _entered: set[str] = field(default_factory=set)
    _checked: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By the id of a run that is not admitted yet, the name and value by which the ledger remembers its check."""

    async def enter(self, run: Run, keys: Keys | None = None) -> None:
        """Enter a run, unless this object has done so; ``keys`` are those of a run that is not admitted yet."""
        identity = await self.ledger.identity()
        if run.id in self._entered or identity is None or isinstance(self.gs.transport, MemoryTransport):
            return
        account = await account_of(self.gs)
        if keys is not None:
            knows = partial(Register().knows, account, identity.name, self.ledger.path, keys)
            await asyncio.to_thread(knows, new_ledger=self.new_ledger)  # which refuses before the list is read
            await self._refuse_known_orders(run, keys)
        warning = await asyncio.to_thread(
            Register().enter,
            account,
            identity.name,
            self.ledger.path,
            run.id,
            keys=keys,
            now=self.gs.session.clock.now(),
            new_ledger=self.new_ledger,
        )
        if warning is not None:
            log.warning("%s", warning)
        self._entered.add(run.id)
        await self.ledger.keep_count_by_id()

    async def there_before(self, run: Run, new_for: timedelta | None = None) -> dict[str, set[str]]:
        """The account's newest live tasks by `folded` tracking id, if the ledger is new to the account; else none.

        It is new to a push until a push of the account's was admitted for which the list was read, or three if it was
        not whole. To a desk, which reads it for each run, it is new until ``new_for`` after the first such push, or run
        of a desk. What an older version sent counts as such a push.
        """
        if isinstance(self.gs.transport, MemoryTransport):
            return {}
        if await self.ledger.accepted_at() is not None:  # then `look_up_first_pushed` has looked up its orders
            return {}
        account = structs.astuple(await account_of(self.gs))
        digest = hashlib.sha256(repr((run.info.environment, *account)).encode()).hexdigest()
        push, desk = f"checked {digest}", f"checked by a desk {digest}"
        meta: dict[str, int] = await self.ledger.read(lambda db: dict(db.rows("meta")))
        times = {name: meta[name] for name in (push, desk) if name in meta}
        if not times and (sent_at := await self._first_unchecked(run, meta.get(UNCHECKED))) is not None:
            await self._remember(push, sent_at)
            times = {push: sent_at}
        first = min(times.values(), default=None)
        if new_for is None:
            is_known = push in times
        else:
            is_known = first is not None and first <= to_microseconds(run.info.created_at - new_for)
        if is_known:
            return {}
        there, worth = await self._listed(run.info.mode)
        if new_for is None:
            tried = f"tried to check {digest}"
            tries = meta.get(tried, 0) + worth
            self._checked[run.id] = (push, self.ledger.stamp()) if tries >= TRIES else (tried, tries)
        elif worth and first is None:
            await self._remember(desk, self.ledger.stamp())
        return there

    async def admitted(self, run: Run) -> None:
        """Note that a push was admitted for which the Task List was read, so that no later one reads it again."""
        if run.id in self._checked:
            with suppress(LedgerError):  # then the next one reads it again
                await self._remember(*self._checked.pop(run.id))

    async def _remember(self, name: str, value: int) -> None:
        await self.ledger.write(lambda db: db.change("remember", name=name, value=value))

    async def _first_unchecked(self, run: Run, last: int | None) -> int | None:
        """The time of the account's first run with tasks from before ledgers noted checks; None if it has none.

        Args:
            last: the number of the last run of any account from then, 0 if there is none; None if it is not noted yet.
        """
        if last == 0:
            return None
        numbers = {number for (number,) in await self.ledger.read(lambda db: db.rows("runs_with_results"))}
        newest = max(numbers, default=0) if last is None else last
        if last is None:
            await self._remember(UNCHECKED, newest)
        account, api_base = account_name_of(self.gs), self.gs.environment.api_base
        return min(
            (
                to_microseconds(info.created_at)
                for info in await self.ledger.runs()
                if info.number in numbers
                and info.number <= newest
                and info.environment == run.info.environment
                and account_of_run(info) == account
                and is_at(info, api_base)
            ),
            default=None,
        )

    async def are_still_live(self, tasks: set[str]) -> bool:
        """Read some tasks again, and remove those that have been cancelled or have expired; returns whether any stay.

        A task that cannot be read stays, and so does one that is gone: that proves nothing.
        """
        for task_id in [*tasks]:
            with suppress(CallError, SignInNeeded):
                task = await self.gs.session.call(PLATFORM_TASKS_GET, path={"task_id": task_id}, read=task_of(task_id))
                if not _is_live(task):
                    tasks.discard(task_id)
        return bool(tasks)

    async def _refuse_known_orders(self, run: Run, keys: Keys) -> None:
        """Raise OrdersThere if the Task List has tasks of orders that another machine's ledger sent, not this one."""
        there = await self.there_before(run)
        if there and await self._unknown(run, keys, there):
            own = await self.ledger.recorded(run.info.environment, [task for tasks in there.values() for task in tasks])
            there = {name: tasks for name, tasks in there.items() if not tasks <= own.keys()}
            if present := await self._unknown(run, keys, there):
                raise self.orders_there(present)

    async def _unknown(self, run: Run, keys: Keys, there: Mapping[str, Set[str]]) -> list[str]:
        """The keys of a run's orders that the Task List has, and that this ledger has not pushed."""
        present = await run.keys_of(there.keys(), are_keys=keys.are_tracking_ids)
        known = await self.ledger.known(run.info.environment, present) if present else {}
        return [key for key in present if key not in known or known[key].row.state not in PUSHED]

    def orders_there(self, keys: Sequence[str]) -> OrdersThere:
        """The error for orders that a new ledger would send a second time."""
        more = f" and {len(keys) - NAMED:,} more" if len(keys) > NAMED else ""
        newest, these = number_of(NEWEST, "task"), number_of(len(keys), "order")
        return OrdersThere(
            f"ledger {self.ledger.path} is new to this account, but the account's newest {newest} already include "
            f"{these} of this run: {', '.join(keys[:NAMED])}{more}. A second driver would come for each "
            "order, so nothing was sent. Use the ledger that sent these orders, or push the other orders in a separate "
            "file"
        )

    async def _listed(self, mode: Mode) -> tuple[dict[str, set[str]], int]:
        """The account's newest tasks by `folded` tracking id, without those that are drafts, cancelled or expired.

        Also what the reading counts: `TRIES` if the list was read, or the account has none; 1 if it was not whole; 0 if
        the client is not signed in.
        """
        there: defaultdict[str, set[str]] = defaultdict(set)
        try:
            newest = listing(
                self.gs.session, PLATFORM_TASKS_LIST, read_names, "tasks", per_page=PAGE, query={"order": "desc"}
            )
            async with aclosing(newest.pages()) as pages:
                number = 0
                async for page in pages:
                    number += len(page.tasks)
                    for task in page.tasks:
                        if task.tracking_id and _is_live(task):
                            there[folded(task.tracking_id)].add(task.id)
                    if number >= NEWEST:
                        break
                else:
                    if newest.gap:
                        log.warning("the Task List is incomplete (%s), so these orders may already exist", newest.gap)
                        return there, 1
        except (CallError, SignInNeeded) as error:
            if mode is Mode.DIRECT and isinstance(error, Unauthorized | Forbidden | NotFound | SignInNeeded):
                # A plain partner has no such list, and without a sign-in nothing is sent.
                return there, TRIES if isinstance(error, Forbidden | NotFound) else 0
            if isinstance(error, SignInNeeded):
                raise
            log.warning("the Task List cannot be read (%s), so these orders may already exist", error)
            return there, 0 if isinstance(error, Unauthorized) else 1
        return there, TRIES

    async def forget(self, run: Run) -> None:
        """Remove a run that was not admitted. If that fails, its orders count as pushed."""
        identity = await self.ledger.identity()
        if run.id in self._entered and identity is not None:
            self._entered.discard(run.id)
            with suppress(LedgerError, OSError):
                await asyncio.to_thread(Register().forget, await account_of(self.gs), identity.name, run.id)


def _is_live(task: "Task") -> bool:
    status = task.current_status
    return status is None or not (status.is_draft or status in ENDED_EARLY)


def account_name_of(gs: "GotSurge") -> str:
    """The name of the account that a client's calls use; "" for the only one."""
    return name_in_ledgers(gs.environment, gs.tokens.account)


def place_of(gs: "GotSurge") -> dict[str, str]:
    """The options that a run has of the client that began it: its account, and its API base unless it is temporary."""
    account, environment = account_name_of(gs), gs.environment
    options = {"account": account, API_BASE: "" if environment.temporary else environment.api_base}
    return {name: value for name, value in options.items() if value}


async def account_of(gs: "GotSurge") -> Account:
    """The account that a client's calls use."""
    credentials, environment = gs.oauth.credentials, gs.environment
    return Account(
        service=service_of(environment.api_base),
        client="" if credentials is None else credentials.client_key,
        name=account_name_of(gs),
        world=await _world_of(gs) if environment.name == "local" else "",
    )


async def _world_of(gs: "GotSurge") -> str:
    """The id of a simulator, which is new after each start and reset; "" if it has none."""
    parts = urlsplit(gs.environment.api_base)
    request = Request(method="GET", url=f"{parts.scheme}://{parts.netloc}/_simulator/world")
    with suppress(TransportError, msgspec.MsgspecError):
        answer = await gs.transport.send(request)
        if answer.status == 200:
            return msgspec.json.decode(answer.body, type=dict[str, str]).get("world", "")
    return ""


async def warn_of_other_servers(
    ledger: Ledger, environment: str, api_base: str, how: str, warned: set[str] | None = None
) -> None:
    """Log a warning if the newest runs of a ledger include some of another server with this environment's name.

    ``how`` is what becomes of their keys; ``warned`` has the servers of earlier warnings, which are not repeated.
    """
    runs = [info for info in await ledger.runs(NEWEST_RUNS) if info.environment == environment]
    others = {info.options[API_BASE] for info in runs if not is_at(info, api_base)}
    for other in sorted(others - (warned or set())):
        log.warning(
            "the ledger has runs of the server %s under the environment %s: keys that those runs have sent %s at %s",
            *(other, environment, how, api_base),
        )
    if warned is not None:
        warned |= others
