"""All that the simulator knows, without HTTP: who there is, what they ordered, what was called."""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from .accounts import fixed_accounts, fixed_users
from .book import TaskBook
from .clock import Clock, write_instant
from .options import SimulatorOptions
from .replies import Caller, Problem, RefusedError
from .sign_in import SignIn


class Service:
    """The state of one simulator."""

    def __init__(self, options: SimulatorOptions, time: Callable[[], float]) -> None:
        self.options = options
        self.clock = Clock(time)
        self.accounts = fixed_accounts()
        self.reset()

    def reset(self) -> None:
        """Forget everything that happened: tasks, tokens, organizations, counts, turned time."""
        self.clock.reset()
        self.users = {user.email: user for user in fixed_users(self.accounts)}
        self.book = TaskBook()
        self.sign_in = SignIn(jwt=self.options.tokens == "jwt", rotation=self.options.refresh_rotation)
        self.calls: Counter[str] = Counter()
        self.random = Random(self.options.seed)  # noqa: S311 - repeatable on purpose, no secret

    def caller(self, account_name: str) -> Caller:
        """The OrgAdmin of an account; raises ValueError when there is no such account."""
        account = self.accounts.get(account_name)
        if account is None:
            known = ", ".join(self.accounts)
            raise ValueError(f"there is no account {account_name!r}; the accounts are: {known}")
        user = next(user for user in self.users.values() if user.account == account_name)
        return Caller(account, user)

    def check_client(self, client_key: str, secret_key: str | None) -> None:
        """Refuse a partner's credentials when no account has them; a secret of None is not looked at."""
        for account in self.accounts.values():
            if account.client_key == client_key and secret_key in (None, account.secret_key):
                return
        problem = Problem(None, "client_key", "is not known, or its secret_key is another")
        raise RefusedError(401, "invalid_client", "The client_key or secret_key is wrong", (problem,))

    def instant(self, seconds: float) -> str:
        """Seconds since the epoch, as answers write them."""
        return write_instant(seconds, self.options.dates)

    def audit(self) -> dict[str, Any]:
        """The tasks by count and by tracking id, those that were doubled, and the calls of each operation."""
        return {**self.book.audit(), "calls": dict(self.calls)}
