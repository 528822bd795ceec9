"""The simulator as one object, and as a program."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from gotsurge_async.clock import SystemClock
from gotsurge_async.simulator.app import BASE_PATH, add_operations
from gotsurge_async.simulator.board.pages import add_board
from gotsurge_async.simulator.control import add_control
from gotsurge_async.simulator.day import seed_a_day
from gotsurge_async.simulator.faults import Fault
from gotsurge_async.simulator.loopback import only_from_here
from gotsurge_async.simulator.options import SimulatorOptions
from gotsurge_async.simulator.pages import CONSENT, LOGIN, SSO, add_pages
from gotsurge_async.simulator.state.accounts import ACCOUNTS, Account
from gotsurge_async.simulator.state.clock import TellsTime
from gotsurge_async.simulator.state.service import Service
from gotsurge_async.simulator.webhooks import Sender, event_of

HOST = "127.0.0.1"
SHORTEST_WAIT, LONGEST_WAIT = 0.001, 3600.0
"""The least and the most seconds between two reads of the clock, since a test may turn it without notice."""


class Ticker:
    """Performs planned actions when the clock reaches their moments, even without any call."""

    def __init__(self, service: Service, sender: Sender) -> None:
        self._service = service
        self._sender = sender
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.Task[None] | None = None
        self._arming = False

    def start(self) -> None:
        """Start in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._service.replanned = self._arm_soon
        self._arm()

    async def stop(self) -> None:
        """Stop."""
        self._service.replanned = None
        self._loop = None
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            await asyncio.wait([timer])

    def _arm_soon(self) -> None:
        # Whoever turns the clock may be in another thread.
        if self._loop is not None and not self._arming:
            self._arming = True
            self._loop.call_soon_threadsafe(self._arm)

    def _arm(self) -> None:
        self._arming = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._loop is None:
            return
        clock, moment = self._service.clock, self._service.timetable.next_at
        if moment < inf and clock.speed:
            wait = (moment - clock.now()) / clock.speed
            self._timer = self._loop.create_task(self._tick(min(max(wait, SHORTEST_WAIT), LONGEST_WAIT)))

    async def _tick(self, wait: float) -> None:
        clock = self._service.clock
        await clock.sleep(wait)
        self._timer = None
        # A clock that a test turns stands still where it woke this, and that may be a microsecond too early.
        self._sender.catch_up(SHORTEST_WAIT)
        self._arm()


class Simulator:
    """A GotSurge on your own machine, over real HTTP, for this machine alone::

        async with Simulator() as sim:
            code = sim.new_code("plain")
            ...  # exchange it at sim.api_base, create tasks
            assert sim.audit()["doubled"] == {}

    Everything is kept in memory and gone at the end. Times are seconds since the epoch, of the simulator's clock.

    Args:
        port: 0 takes any free one.
        clock: anything whose ``now()`` is an aware datetime, by default the machine's; :meth:`advance` adds to it.
    """

    def __init__(
        self,
        port: int = 0,
        options: SimulatorOptions = SimulatorOptions(),  # noqa: B008 - frozen
        clock: TellsTime | None = None,
    ) -> None:
        if not isinstance(port, int):
            raise TypeError(f"the first argument is the port, not {port!r:.60}: give options=SimulatorOptions(…)")
        self._wanted_port = port
        self._service = Service(options, clock or SystemClock())
        self._service.makes_event = partial(event_of, self._service)
        self._sender = Sender(self._service)
        self._ticker = Ticker(self._service, self._sender)
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        # Not the pages: a browser sends "Origin: null" with a form of ours, because of their referrer policy.
        guard = only_from_here(any_origin=(CONSENT, LOGIN, SSO))
        app = web.Application(client_max_size=self._service.options.body_limit, middlewares=[guard])
        add_operations(app, self._service, self._sender)
        add_control(app, self, self._service, self._sender)
        add_board(app, self._service, self._sender)
        add_pages(app, self._service)
        # Nobody waits for a simulator's last answers: what is still delayed at the end is cancelled.
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, self._wanted_port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self._port = runner.addresses[0][1]
        self._sender.start()
        self._ticker.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await self._ticker.stop()
            try:
                await runner.cleanup()
            finally:
                await self._sender.close()

    @property
    def origin(self) -> str:
        """Scheme, host and port, such as ``http://127.0.0.1:8080``; known once the simulator has started."""
        if not self._port:
            raise RuntimeError("the simulator has no address yet: use it inside `async with Simulator() as sim`")
        return f"http://{HOST}:{self._port}"

    @property
    def api_base(self) -> str:
        """The URL to which every path of the endpoint table is relative."""
        return self.origin + BASE_PATH

    @property
    def options(self) -> SimulatorOptions:
        """The switches that this simulator runs with."""
        return self._service.options

    @property
    def accounts(self) -> Mapping[str, Account]:
        """The two accounts, ``plain`` and ``platform``."""
        return ACCOUNTS

    def now(self) -> float:
        """The simulator's time, in seconds since 1970."""
        return self._service.clock.now()

    def advance(self, seconds: float) -> None:
        """Turn the clock forward: tokens expire, drivers drive, broadcasts end. ValueError for less than 0."""
        self._service.advance(seconds)
        self._sender.send_new()

    def run_at(self, speed: float) -> None:
        """Let ``speed`` seconds of the clock pass in one: 0 stops it. ValueError for less than 0 or over 86,400."""
        self._service.run_at(speed)

    def audit(self) -> dict[str, Any]:
        """The counts that show whether a push was right::

            {"tasks": 3, "by_tracking_id": {"A": 2, "B": 1}, "doubled": {"A": 2}, "drafts": 0,
             "drafts_by_tracking_id": {}, "calls": {"tasks.create": 2}}

        ``tasks`` counts those that drivers were shown, even if they were cancelled later. ``calls`` counts all calls,
        whether or not a fault or a refusal kept them from having an effect. With a webhook there is
        ``webhooks`` as well: how many ``events`` there were, requests were ``sent``, and events are ``delivered``,
        ``waiting``, ``lost`` (by a fault) or ``given_up``.
        """
        self._sender.catch_up()
        return self._service.audit()

    def tasks(self, prefix: str = "") -> list[dict[str, Any]]:
        """Every task whose tracking id begins with ``prefix``, drafts and cancelled ones included::

            {"id": "…", "tracking_id": "A", "draft": False, "history": [["broadcasting", 1767225600.0]]}

        The history's first entry is the task's first status, its last the present one.
        """
        self._sender.catch_up()
        return self._service.tasks.histories(prefix)

    async def called(self, operation: str, *, times: int = 1) -> None:
        """Wait until an operation was called ``times`` times since the start or the last reset."""
        await self._service.calls.reached(operation, times)

    def order_fault(self, fault: Fault) -> None:
        """Let a fault strike from now on; raises ValueError if there is no such operation."""
        self._service.faults.order(fault)

    def clear_faults(self) -> None:
        """End all faults."""
        self._service.faults.clear()

    def seed_a_day(self, orders: int = 40, account: str = "platform") -> int:
        """Add orders in the states of the middle of a day around the present; returns the number of tasks.

        The same options' seed makes the same orders. What happened to them before is not sent to a webhook.
        """
        return seed_a_day(self._service, orders, self._service.account(account))

    def restore(self, moment: float) -> None:
        """Put all tasks back to what they were at a moment (seconds since 1970), as a service restored from its backup.

        Tasks and organizations that were created since do not exist any more (404), statuses, contents and tracking ids
        are the earlier ones, and the audit counts the present tasks. The clock continues, tokens stay, and late calls
        still take effect. With a life, drivers continue from there. Raises ValueError for a time that is still to come.
        """
        self._sender.catch_up()
        self._service.restore(moment)

    def late_calls(self) -> list[dict[str, Any]]:
        """The calls that a fault with ``when="late"`` struck and that have not taken effect yet, the next one first::

            {"number": 1, "operation": "tasks.cancel", "task_id": "…", "received_at": 1767225600.0,
             "acts_at": 1767225605.0}

        ``acts_at`` is None while the client of a silent call still waits.
        """
        self._sender.catch_up()
        return self._service.late.described()

    def reset(self) -> None:
        """Return to the initial state: no tasks, tokens, faults, events or counts, and the clock not turned."""
        self._sender.reset()
        self._service.reset()

    def new_code(self, account_name: str, email: str | None = None) -> str:
        """An authorization code, as if the account's OrgAdmin (or whose email it is) had consented.

        It works once, within ten minutes. Raises ValueError for an unknown account or email.
        """
        return self._service.sign_in.new_code(self._service.caller(account_name, email), self.now())

    def new_session(self, account_name: str, email: str | None = None) -> str:
        """An SSO session id, as if that person had signed in at the SSO page: it works once, within five minutes."""
        return self._service.sign_in.new_session(self._service.caller(account_name, email), self.now())

    def revoke(self, account_name: str) -> None:
        """Make every token of an account invalid, as when its user withdraws consent."""
        self._service.sign_in.revoke(self._service.account(account_name).name)

    def move(self, task_id: str, status: str, *, force: bool = False, through: bool = False, note: str = "") -> None:
        """Move a task to another status, as drivers and the service do (section "Order Statuses").

        Raises LookupError for an unknown task, and ValueError for an unknown status or for one that the document
        does not let follow the current one; ``through`` takes it through those between, ``force`` lets anything follow.
        ``note`` is added to its ``statuses``.
        """
        self._service.move(task_id, status, force=force, through=through, note=note)
        self._sender.send_new()

    def remove(self, task_id: str) -> None:
        """Make a task vanish: it is in no list, and cannot be read. If drivers were shown it, it stays in the audit.

        Raises LookupError for an unknown task.
        """
        self._service.tasks.remove(task_id)

    def set_webhook(self, url: str, account: str | None = None) -> None:
        """Send the events of an account, or of both, to a URL (section "Webhook"); empty for nowhere.

        Raises ValueError for an unknown account, and for another machine's URL unless the options allow that.
        """
        self._service.set_webhook(url, account)

    def webhooks(self) -> list[dict[str, Any]]:
        """The events for webhooks, the oldest first, with the answers::

            {"number": 1, "account": "plain", "task_id": "…", "tracking_id": "A", "status": "broadcasting",
             "at": 1767225600.0, "state": "delivered", "faults": [], "next_at": None,
             "tries": [{"at": 1767225600.0, "status": 200, "seconds": 0.002, "answer": ""}]}

        ``state`` is delivered, waiting, lost (by a fault) or given up; the status of a try is 0 when nothing came.
        """
        self._sender.catch_up()
        return self._service.events.described()

    def resend(self, number: int) -> None:
        """Send an event once more, whatever its state; raises LookupError if no event has the number."""
        self._sender.resend(number)

    async def webhooks_settled(self) -> None:
        """Wait until no event is on its way. Events that wait for the clock do not count: turn it."""
        await self._sender.settled()

    def describe(self) -> list[str]:
        """The simulator's address and accounts, credentials included, as lines for a person at a terminal."""
        lines = [f"GotSurge simulator, API base {self.api_base}"]
        for account in ACCOUNTS.values():
            user = self._service.caller(account.name).user
            keys = f"client_key {account.client_key}, secret_key {account.secret_key}"
            lines.append(f"account {account.name}: {keys}; sign in as {user.email}, password {user.password}")
        return [*lines, f"board {self.origin}/"]


async def serve(port: int, options: SimulatorOptions, *, announce: Callable[[str], None]) -> None:
    """Run a simulator until cancelled; ``announce`` gets the lines of :meth:`Simulator.describe`, one by one."""
    async with Simulator(port, options) as simulator:
        for line in simulator.describe():
            announce(line)
        await asyncio.Event().wait()
