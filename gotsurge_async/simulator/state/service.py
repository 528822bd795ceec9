"""The state of a simulator, without HTTP: accounts, tasks, events, calls, faults and the clock."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any
from uuid import uuid4

from gotsurge_async.api.endpoints import ENDPOINTS
from gotsurge_async.simulator.faults import Faults, LateCalls
from gotsurge_async.simulator.loopback import check_url
from gotsurge_async.simulator.options import SimulatorOptions
from gotsurge_async.simulator.shapes import reshapes
from gotsurge_async.simulator.state.accounts import (
    ACCOUNTS,
    Account,
    Browser,
    Caller,
    Organizations,
    SignIn,
    User,
    first_users,
)
from gotsurge_async.simulator.state.clock import Action, Clock, TellsTime, Timetable, write_instant
from gotsurge_async.simulator.state.life import Lives
from gotsurge_async.simulator.state.log import MOST_REQUESTS, Event, Events, Log, LoggedCall
from gotsurge_async.simulator.state.tasks import TRANSITIONS, TaskRecord, Tasks, way

Hook = Callable[[], None]
MakesEvent = Callable[[TaskRecord], Event | None]


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
        """Wait until the operation was called ``times`` times."""
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
        self.timetable: Timetable = Timetable()
        self.late: LateCalls = LateCalls()
        self.changes: Counter[str] = Counter()
        """How often each part of the board has changed."""
        self.faults: Faults = Faults(ENDPOINTS, changed=partial(self.note, "faults"))
        self.replanned: Hook | None = None
        """Called when the next planned moment, or the clock's speed, is another."""
        self.makes_event: MakesEvent = lambda _: None
        self._written = (float("nan"), "")
        check_url(options.webhook_url, anywhere=options.webhooks_anywhere)
        self.reset()

    def reset(self) -> None:
        """Return to the initial state: no tasks, tokens, organizations, faults or counts, and the clock not turned."""
        self.world: str = uuid4().hex
        """Another text after each start and reset, when what was pushed before is gone."""
        self.clock.reset()
        self.clock.run_at(self.options.speed)
        self.faults.clear()
        self.timetable.clear()
        self.late.clear()
        self.reused_ids = 0
        self.users: dict[str, User] = first_users()
        self.tasks: Tasks = Tasks(self.entered, self.changed)
        self.lives: Lives = Lives(self.tasks, self.plan, self.options.life, self.options.seed)
        self.events: Events = Events()
        self.fresh: list[Event] = []
        self.seeding = False
        self.webhook_urls: dict[str, str] = dict.fromkeys(ACCOUNTS, self.options.webhook_url)
        self.organizations: Organizations = Organizations(ACCOUNTS.values())
        self.sign_in: SignIn = SignIn(jwt=self.options.tokens == "jwt", rotation=self.options.refresh_rotation)
        self.browsers: dict[str, Browser] = {}
        self.calls: Calls = Calls()
        self.requests: Log[LoggedCall] = Log("request", MOST_REQUESTS)
        self.random: Random = Random(self.options.seed)  # noqa: S311 - repeatable on purpose, no secret
        if self.options.life is not None or self.options.webhook_url:
            self.lives.wake()
        self.note("orders")
        self._replan()

    def entered(self, record: TaskRecord) -> None:
        """Note the effects of a task's new status, and make the event for its partner."""
        status = record.status
        if status == "accepted":
            price = self.lives.final_price(record)
            if price is not None:
                record.new_course().price = price
        elif status == "complete":
            record.new_course().epod = proof_of_delivery(record, self.instant(record.history[-1][1]))
        if self.webhook_urls[record.owner] and not self.seeding:
            event = self.makes_event(record)
            if event is not None:
                self.events.add(event)
                self.fresh.append(event)
                self.note("webhooks")
        self.changed(record)

    def changed(self, record: TaskRecord) -> None:
        """Plan a changed task's next step, and note the change; a removed task has no next step."""
        self.lives.plan(record)
        self.note("orders")

    def note(self, part: str) -> None:
        """Note that a part of the board has changed: orders, requests, webhooks, faults or clock."""
        self.changes[part] += 1

    def plan(self, moment: float, action: Action) -> None:
        """Plan an action for a moment of the clock."""
        earlier = moment < self.timetable.next_at
        self.timetable.at(moment, action)
        if earlier:
            self._replan()

    def catch_up(self, now: float) -> None:
        """Perform all actions that were planned for moments until now."""
        if self.timetable.next_at <= now:
            self.timetable.run(now)

    def move(
        self, task_id: str, status: str, *, force: bool = False, through: bool = False, note: str = ""
    ) -> dict[str, Any]:
        """Move a task to another status now, or ``through`` all between; returns its ``id``, and those it ``entered``.

        It is named by its id, or by a tracking id that it alone has. Raises LookupError for an unknown task, and
        ValueError for an unknown status or for one that does not follow.
        """
        record = self.tasks.named(task_id)
        now = self.clock.now()
        self.tasks.expire(record, now)
        before = len(record.history)
        steps = (status,) if force or not through or status not in TRANSITIONS else way(record.status, status)
        for step in steps:
            self.tasks.move(record.id, step, now, force=force, note=note)
        self._replan()
        return {"id": record.id, "entered": [entered for entered, _ in record.history[before:]]}

    def restore(self, moment: float) -> None:
        """Put tasks and organizations back to what they were at an earlier time, as from a backup of the service.

        The clock continues, tokens and people stay, and late calls still take effect. Raises ValueError for a time
        that is still to come.
        """
        now = self.clock.now()
        if not moment <= now:
            raise ValueError(f"the state of {moment!r} cannot be restored: it is {now!r}, in seconds since the epoch")
        self.catch_up(now)
        self.tasks.restore(moment)
        self.organizations.restore(moment)
        self.note("orders")
        self._replan()

    def set_webhook(self, url: str, account: str | None = None) -> None:
        """Send the events of an account, or of all, to a URL; empty for nowhere.

        Raises ValueError for an unknown account, and for a URL on another machine, unless the options allow that.
        """
        accounts = ACCOUNTS if account is None else (self.account(account).name,)
        check_url(url, anywhere=self.options.webhooks_anywhere)
        self.webhook_urls |= dict.fromkeys(accounts, url)
        if url:
            self.wake()
        self.note("webhooks")

    def wake(self) -> None:
        """End broadcasts from now on when they are due, and not only when they are read."""
        self.lives.wake()
        self._replan()

    def take_fresh(self) -> list[Event]:
        """The events that are not being sent yet; the next call returns only newer ones."""
        fresh, self.fresh = self.fresh, []
        return fresh

    def advance(self, seconds: float) -> None:
        """Turn the clock forward, and perform everything that is due then."""
        self.clock.advance(seconds)
        self.catch_up(self.clock.now())
        self.note("clock")
        self._replan()

    def run_at(self, speed: float) -> None:
        """Run the clock at another speed."""
        self.clock.run_at(speed)
        self.note("clock")
        self._replan()

    def _replan(self) -> None:
        if self.replanned is not None:
            self.replanned()

    def account(self, name: str) -> Account:
        """An account by its name; raises ValueError if there is none."""
        account = ACCOUNTS.get(name)
        if account is None:
            raise ValueError(f"there is no account {name!r}; the accounts are: {', '.join(ACCOUNTS)}")
        return account

    def caller(self, account_name: str, email: str | None = None) -> Caller:
        """A person of an account, its OrgAdmin unless an email names another; raises ValueError for a stranger."""
        account = self.account(account_name)
        people = [user for user in self.users.values() if user.account == account_name]
        for user in people:
            if email in (None, user.email):
                return Caller(account, user)
        known = ", ".join(user.email for user in people)
        raise ValueError(f"{email!r} is nobody of {account_name}; there are: {known}")

    def new_browser(self, user: User | None = None) -> Browser:
        """A browser with a new cookie, which every sign-in gets, so that nobody can have planted it."""
        browser = Browser(user)
        self.browsers[browser.cookie] = browser
        return browser

    def instant(self, seconds: float) -> str:
        """Seconds since the epoch in the form of answers."""
        # The twenty tasks of a create all carry the same moment, three times each: a tenth of a create's cost.
        if seconds != self._written[0]:
            self._written = (seconds, write_instant(seconds, self.options.dates))
        return self._written[1]

    def audit(self) -> dict[str, Any]:
        """The numbers of tasks, in all and by tracking id, doubled ones, calls of each operation, and events."""
        counted = {**self.tasks.audit(), "calls": dict(self.calls)}
        if any(self.webhook_urls.values()):
            counted["webhooks"] = self.events.count()
        return counted


def proof_of_delivery(record: TaskRecord, at: str) -> dict[str, Any]:
    """The proof of delivery, with the recipient if the order names one."""
    return {
        "recipient_name": record.written().to_contact.name or "",
        "signed_at": at,
        "photos": [{"url": f"https://epod.example/{record.id}/1.jpg", "taken_at": at}],
        "signature": {"url": f"https://epod.example/{record.id}/signature.png"},
    }
