"""All that the simulator knows, without HTTP: who there is, what they ordered, what was called."""

from random import Random
from typing import TYPE_CHECKING, Any

from gotsurge_async.simulator.accounts import Account, User, fixed_accounts, fixed_users
from gotsurge_async.simulator.book import TaskBook, TaskRecord
from gotsurge_async.simulator.browsers import BrowserBook
from gotsurge_async.simulator.calls import Calls
from gotsurge_async.simulator.clock import Clock, TellsTime, write_instant
from gotsurge_async.simulator.life import TRANSITIONS
from gotsurge_async.simulator.options import SimulatorOptions
from gotsurge_async.simulator.organizations import OrganizationBook
from gotsurge_async.simulator.replies import Caller, Problem, RefusedError
from gotsurge_async.simulator.shapes import reshapes
from gotsurge_async.simulator.sign_in import SignIn

if TYPE_CHECKING:
    from collections.abc import Mapping


class Service:
    """The state of one simulator."""

    def __init__(self, options: SimulatorOptions, time: TellsTime) -> None:
        self.options = options
        self.reshapes: bool = reshapes(options)
        self.clock: Clock = Clock(time)
        self.accounts: Mapping[str, Account] = fixed_accounts()
        self._written = (float("nan"), "")
        self.reset()

    def reset(self) -> None:
        """Forget everything that happened: tasks, tokens, organizations, counts, turned time."""
        self.clock.reset()
        self.users: dict[str, User] = {user.email: user for user in fixed_users(self.accounts)}
        self.book: TaskBook = TaskBook()
        self.organizations: OrganizationBook = OrganizationBook(self.accounts.values())
        self.sign_in: SignIn = SignIn(jwt=self.options.tokens == "jwt", rotation=self.options.refresh_rotation)
        self.browsers: BrowserBook = BrowserBook()
        self.calls: Calls = Calls()
        self.random: Random = Random(self.options.seed)  # noqa: S311 - repeatable on purpose, no secret

    def account(self, name: str) -> Account:
        """An account by its name; raises ValueError when there is none."""
        account = self.accounts.get(name)
        if account is None:
            known = ", ".join(self.accounts)
            raise ValueError(f"there is no account {name!r}; the accounts are: {known}")
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

    def move(self, task_id: str, status: str, *, force: bool = False) -> None:
        """Take a task to the status that drivers or the service bring it to.

        Raises LookupError for an unknown task, ValueError for an unknown status, and for one that the document
        does not let follow, unless ``force``.
        """
        now = self.clock.now()
        record = self._find(task_id)
        record.settle(now)
        if status not in TRANSITIONS:
            raise ValueError(f"there is no status {status!r}; the statuses are: {', '.join(TRANSITIONS)}")
        following = TRANSITIONS[record.status]
        if not force and status not in following:
            allowed = ", ".join(sorted(following)) or "nothing"
            raise ValueError(f"{status} does not follow {record.status}; what may: {allowed}")
        self.book.move(record, status, now)

    def remove(self, task_id: str) -> None:
        """Forget a task, as if it had never been; raises LookupError for an unknown one."""
        self.book.remove(self._find(task_id))

    def _find(self, task_id: str) -> TaskRecord:
        record = self.book.find(task_id)
        if record is None:
            raise LookupError(f"there is no task {task_id!r}")
        return record

    def check_client(self, client_key: str, secret_key: str | None) -> None:
        """Refuse a partner's credentials when no account has them; a secret of None is not looked at."""
        for account in self.accounts.values():
            if account.client_key == client_key and secret_key in (None, account.secret_key):
                return
        problem = Problem(None, "client_key", "is not known, or its secret_key is another")
        raise RefusedError(401, "invalid_client", "The client_key or secret_key is wrong", (problem,))

    def instant(self, seconds: float) -> str:
        """Seconds since the epoch, as answers write them."""
        # The twenty tasks of a create all carry the same moment, three times each: a tenth of a create's cost.
        if seconds != self._written[0]:
            self._written = (seconds, write_instant(seconds, self.options.dates))
        return self._written[1]

    def audit(self) -> dict[str, Any]:
        """The tasks by count and by tracking id, those that were doubled, and the calls of each operation."""
        return {**self.book.audit(), "calls": dict(self.calls)}
