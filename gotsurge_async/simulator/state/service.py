"""All that the simulator knows, without HTTP: who there is, what they ordered, what was called, what is to go wrong."""

import asyncio
from collections import Counter
from random import Random
from typing import Any

from gotsurge_async.api.endpoints import ENDPOINTS
from gotsurge_async.simulator.faults import Faults
from gotsurge_async.simulator.options import SimulatorOptions
from gotsurge_async.simulator.shapes import reshapes
from gotsurge_async.simulator.state.clock import Clock, TellsTime, write_instant
from gotsurge_async.simulator.state.partners import ACCOUNTS, Account, Caller, Organizations, User, first_users
from gotsurge_async.simulator.state.sign_in import Browser, SignIn
from gotsurge_async.simulator.state.tasks import Tasks


class Calls(Counter[str]):
    """Counts calls by operation; `reached` waits for a count."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[tuple[str, int, asyncio.Event]] = []

    def note(self, operation: str) -> None:
        """Count one call."""
        self[operation] += 1
        for awaited, times, event in self._waiting:
            if awaited == operation and self[operation] >= times:
                event.set()

    async def reached(self, operation: str, times: int) -> None:
        """Wait until the operation was called that often."""
        if self[operation] >= times:
            return
        waiting = (operation, times, asyncio.Event())
        self._waiting.append(waiting)
        try:
            await waiting[2].wait()
        finally:
            self._waiting.remove(waiting)


class Service:
    """The state of one simulator."""

    def __init__(self, options: SimulatorOptions, time: TellsTime) -> None:
        self.options = options
        self.reshapes: bool = reshapes(options)
        self.clock: Clock = Clock(time)
        self.faults: Faults = Faults(ENDPOINTS)
        self._written = (float("nan"), "")
        self.reset()

    def reset(self) -> None:
        """Be as just started: no tasks, tokens, organizations, faults or counts, and the clock not turned."""
        self.clock.reset()
        self.faults.clear()
        self.users: dict[str, User] = first_users()
        self.tasks: Tasks = Tasks()
        self.organizations: Organizations = Organizations(ACCOUNTS.values())
        self.sign_in: SignIn = SignIn(jwt=self.options.tokens == "jwt", rotation=self.options.refresh_rotation)
        self.browsers: dict[str, Browser] = {}
        self.calls: Calls = Calls()
        self.random: Random = Random(self.options.seed)  # noqa: S311 - repeatable on purpose, no secret

    def account(self, name: str) -> Account:
        """An account by its name; raises ValueError when there is none."""
        account = ACCOUNTS.get(name)
        if account is None:
            raise ValueError(f"there is no account {name!r}; the accounts are: {', '.join(ACCOUNTS)}")
        return account

    def caller(self, account_name: str, email: str | None = None) -> Caller:
        """Somebody of an account, its OrgAdmin unless an email says who; raises ValueError for a stranger."""
        account = self.account(account_name)
        people = [user for user in self.users.values() if user.account == account_name]
        for user in people:
            if email in (None, user.email):
                return Caller(account, user)
        known = ", ".join(user.email for user in people)
        raise ValueError(f"{email!r} is nobody of {account_name}; there are: {known}")

    def browser(self, cookie: str | None) -> Browser | None:
        """The browser that has a cookie."""
        return self.browsers.get(cookie or "")

    def new_browser(self, user: User | None = None) -> Browser:
        """A browser with a cookie of its own; signing in takes a new one, so that nobody can have planted it."""
        browser = Browser(user)
        self.browsers[browser.cookie] = browser
        return browser

    def instant(self, seconds: float) -> str:
        """Seconds since the epoch, as answers write them."""
        # The twenty tasks of a create all carry the same moment, three times each: a tenth of a create's cost.
        if seconds != self._written[0]:
            self._written = (seconds, write_instant(seconds, self.options.dates))
        return self._written[1]

    def audit(self) -> dict[str, Any]:
        """The tasks by count and by tracking id, those that were doubled, and the calls of each operation."""
        return {**self.tasks.audit(), "calls": dict(self.calls)}
