"""The simulator as one object, and as a program."""

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from gotsurge_async.clock import SystemClock
from gotsurge_async.simulator.app import BASE_PATH, add_operations
from gotsurge_async.simulator.control import add_control
from gotsurge_async.simulator.faults import Fault
from gotsurge_async.simulator.loopback import only_from_here
from gotsurge_async.simulator.options import SimulatorOptions
from gotsurge_async.simulator.pages import CONSENT, LOGIN, SSO, add_pages
from gotsurge_async.simulator.state.clock import TellsTime
from gotsurge_async.simulator.state.partners import ACCOUNTS, Account
from gotsurge_async.simulator.state.service import Service

HOST = "127.0.0.1"


class Simulator:
    """A GotSurge on your own machine, over real HTTP, for nobody but this machine::

        async with Simulator() as sim:
            code = sim.new_code("plain")
            ...  # exchange it at sim.api_base, create tasks
            assert sim.audit()["doubled"] == {}

    ``port`` 0 takes any free one. ``clock`` is anything whose ``now()`` is an aware datetime, by default the
    machine's; :meth:`advance` turns what the simulator makes of it. Everything is kept in memory and gone at the
    end.
    """

    def __init__(
        self,
        port: int = 0,
        options: SimulatorOptions = SimulatorOptions(),  # noqa: B008 - frozen
        clock: TellsTime | None = None,
    ) -> None:
        self._wanted_port = port
        self._service = Service(options, clock or SystemClock())
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        # Not the pages: a browser sends "Origin: null" with a form of ours, as they tell nobody where it comes from.
        guard = only_from_here(any_origin=(CONSENT, LOGIN, SSO))
        app = web.Application(client_max_size=self._service.options.body_limit, middlewares=[guard])
        add_operations(app, self._service)
        add_control(app, self._service)
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
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    @property
    def origin(self) -> str:
        """Scheme, host and port, such as ``http://127.0.0.1:8080``; known once it has started."""
        if not self._port:
            raise RuntimeError("the simulator has no address yet: use it inside `async with Simulator() as sim`")
        return f"http://{HOST}:{self._port}"

    @property
    def api_base(self) -> str:
        """What every path of the endpoint table is relative to."""
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
        """The simulator's time in seconds since the epoch."""
        return self._service.clock.now()

    def advance(self, seconds: float) -> None:
        """Turn the clock on: tokens and codes grow old, broadcasts expire. ValueError for less than 0."""
        self._service.clock.advance(seconds)

    def audit(self) -> dict[str, Any]:
        """The count by which a push is judged::

            {"tasks": 3, "by_tracking_id": {"A": 2, "B": 1}, "doubled": {"A": 2}, "drafts": 0,
             "drafts_by_tracking_id": {}, "calls": {"tasks.create": 2}}

        ``tasks`` are those that drivers were shown, also when they were cancelled later. ``calls`` counts what
        came in, whether or not a fault or a refusal kept it from having an effect.
        """
        return self._service.audit()

    def tasks(self, prefix: str = "") -> list[dict[str, Any]]:
        """Every task whose tracking id begins with ``prefix``, drafts and cancelled ones included::

            {"id": "…", "tracking_id": "A", "draft": False, "history": [["broadcasting", 1767225600.0]]}

        Times are seconds since the epoch, of the simulator's clock. The history's first entry is the task's first
        status, its last the present one.
        """
        return self._service.tasks.histories(prefix)

    async def called(self, operation: str, *, times: int = 1) -> None:
        """Wait until an operation was called so often, since the start or the last reset."""
        await self._service.calls.reached(operation, times)

    def order_fault(self, fault: Fault) -> None:
        """Have a fault strike from now on; raises ValueError when there is no such operation."""
        self._service.faults.order(fault)

    def clear_faults(self) -> None:
        """Have no faults any more."""
        self._service.faults.clear()

    def reset(self) -> None:
        """Be as just started: no tasks, tokens, faults or counts, and the clock not turned."""
        self._service.reset()

    def new_code(self, account_name: str, email: str | None = None) -> str:
        """An authorization code, as if the account's OrgAdmin (or whose email it is) had consented.

        It is good once, for ten minutes. Raises ValueError when there is nobody of that name.
        """
        return self._service.sign_in.new_code(self._service.caller(account_name, email), self.now())

    def new_session(self, account_name: str, email: str | None = None) -> str:
        """An SSO session id, as if that person had signed in at the SSO page: good once, for five minutes."""
        return self._service.sign_in.new_session(self._service.caller(account_name, email), self.now())

    def revoke(self, account_name: str) -> None:
        """Make every token of an account worthless, as when its user withdraws consent."""
        self._service.sign_in.revoke(self._service.account(account_name).name)

    def move(self, task_id: str, status: str, *, force: bool = False) -> None:
        """Take a task to another status, as drivers and the service do (section "Order Statuses").

        Raises LookupError for an unknown task, and ValueError for an unknown status or for one that the document
        does not let follow the current one; ``force`` lets anything follow.
        """
        self._service.tasks.move(task_id, status, self.now(), force=force)

    def remove(self, task_id: str) -> None:
        """Have a task vanish: it is in no list, and cannot be read. What drivers were shown stays in the audit.

        Raises LookupError for an unknown task.
        """
        self._service.tasks.remove(task_id)

    def describe(self) -> list[str]:
        """Where it is and who may use it, credentials included, as lines for a person at a terminal."""
        lines = [f"GotSurge simulator, API base {self.api_base}"]
        for account in ACCOUNTS.values():
            user = self._service.caller(account.name).user
            keys = f"client_key {account.client_key}, secret_key {account.secret_key}"
            lines.append(f"account {account.name}: {keys}; sign in as {user.email}, password {user.password}")
        return lines


async def serve(port: int, options: SimulatorOptions, *, announce: Callable[[str], None]) -> None:
    """Run a simulator until cancelled; ``announce`` gets the lines of :meth:`Simulator.describe`, one by one."""
    async with Simulator(port, options) as simulator:
        for line in simulator.describe():
            announce(line)
        await asyncio.Event().wait()
