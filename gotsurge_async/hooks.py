"""Events that a user can listen to. Every event is a frozen value without secrets and bodies."""

import inspect
import itertools
import logging
from collections.abc import Callable, Iterable
from datetime import datetime

from msgspec import Struct

from gotsurge_async.errors import ConfigError

__all__ = [
    "CallDone",
    "CallStarted",
    "ChunkDone",
    "Event",
    "Hook",
    "Hooks",
    "RequestDone",
    "RetryPlanned",
    "SignInRequired",
    "TokenRefreshed",
]

logger: logging.Logger = logging.getLogger("gotsurge_async")


class CallStarted(Struct, frozen=True, kw_only=True):
    """A call begins: one or more requests follow, and one `CallDone` ends it.

    Attributes:
        call: a number that the events of one call share; no other call of the client has it.
        operation: the name in the endpoint table.
        method: the HTTP verb.
        path: the endpoint's path with its names in braces, as ``/tasks/{task_id}``; never the values.
        server: scheme, host and port of the API, as ``https://app.gotsurge.co``.
        account: whose token signs it, as the token store names it; "" for a sign-in or the renewal of a token, which no
            token signs.
    """

    call: int
    operation: str
    method: str
    path: str
    server: str
    account: str = ""


class CallDone(Struct, frozen=True, kw_only=True):
    """A call has ended, after all its tries and waits.

    Attributes:
        call: the number of its `CallStarted`.
        operation: the name in the endpoint table.
        seconds: from its start.
        error: the name of the class of its error, such as ``RateLimited``; "" when it succeeded.
        account: as in its `CallStarted`.
    """

    call: int
    operation: str
    seconds: float
    error: str = ""
    account: str = ""


class RequestDone(Struct, frozen=True, kw_only=True):
    """One try of one call has ended.

    Attributes:
        call: the number of its `CallStarted`.
        operation: the name in the endpoint table.
        method: the HTTP verb.
        status: None when no answer came; then ``reason`` says why.
        seconds: from the sending to the end of the answer.
        attempt: which of the call's tries it was, from 1.
        request_id: the service's own id of the request, if it gave one.
        retry_after: seconds that the service asks to wait, if it does so.
        account: as in its `CallStarted`.
    """

    call: int = 0
    operation: str
    method: str
    status: int | None
    seconds: float
    attempt: int
    request_id: str | None = None
    reason: str = ""
    retry_after: float | None = None
    account: str = ""


class RetryPlanned(Struct, frozen=True, kw_only=True):
    """A call will be tried again.

    Attributes:
        call: the number of its `CallStarted`.
        operation: the name in the endpoint table.
        attempt: which of the call's tries has just failed, from 1.
        wait: seconds until the next one.
        reason: why it failed.
        account: as in its `CallStarted`.
    """

    call: int = 0
    operation: str
    attempt: int
    wait: float
    reason: str
    account: str = ""


class TokenRefreshed(Struct, frozen=True, kw_only=True):
    """An account has a new bearer token, until ``expires_at``."""

    account: str
    expires_at: datetime


class SignInRequired(Struct, frozen=True, kw_only=True):
    """An account cannot renew its token any more: a person must sign in.

    Attributes:
        reason: for people.
        works_until: when the present bearer token ends; None when it has ended, or there never was one.
    """

    account: str
    reason: str
    works_until: datetime | None = None


class ChunkDone(Struct, frozen=True, kw_only=True):
    """The results of one call that creates are known: a chunk of a push, or a single create; drafts do not count.

    Attributes:
        created, refused, in_doubt, unprocessed: the number of its orders with each result.
        seconds: from the beginning of its call to the last of its results.
        account: the account of the orders.
    """

    created: int
    refused: int
    in_doubt: int
    unprocessed: int
    seconds: float
    account: str = ""


Event = CallStarted | CallDone | RequestDone | RetryPlanned | TokenRefreshed | SignInRequired | ChunkDone
Hook = Callable[[Event], None]


def listeners_of(hooks: Iterable[Hook]) -> tuple[Hook, ...]:
    """The listeners of a client; ConfigError for one function instead of several, or anything but plain functions."""
    if callable(hooks) or isinstance(hooks, str) or not isinstance(hooks, Iterable):
        raise ConfigError(f"hooks: give a list, such as hooks=[f], not {type(hooks).__name__}", "E903")
    return tuple(map(_checked, hooks))


def _checked(listener: Hook) -> Hook:
    if not callable(listener):
        raise ConfigError(f"hooks: each must be a function that takes an event, not {listener!r:.60}", "E903")
    if any(map(inspect.iscoroutinefunction, (listener, getattr(listener, "__call__", None)))):  # noqa: B004
        why = (
            f"hooks: each must be a plain function, not an `async def` ({listener!r:.60}), which would never be awaited"
        )
        raise ConfigError(why, "E903")
    return listener


def named(account: str) -> str:
    """The part of a log line that names an account; "" for the one that has no name of its own."""
    return "" if account in ("", "default") else f" for {account}"


class Hooks:
    """Calls each listener in turn. A listener that raises is logged, and does not disturb the call."""

    def __init__(self, *listeners: Hook) -> None:
        self._keys = itertools.count()
        self._listeners = {next(self._keys): listener for listener in listeners}
        self._numbers = itertools.count(1)

    def add(self, listener: Hook) -> Callable[[], None]:
        """Call a listener from now on. The returned function ends this, and may be called more than once.

        Raises:
            ConfigError: ``listener`` is not a plain function.
        """
        key = next(self._keys)
        self._listeners[key] = _checked(listener)

        def leave() -> None:
            self._listeners.pop(key, None)

        return leave

    @property
    def watched(self) -> bool:
        """Whether a listener, or the log, receives the events of requests."""
        return bool(self._listeners) or logger.isEnabledFor(logging.DEBUG)

    def emit(self, event: Event) -> None:
        """Call all listeners with an event."""
        for listener in tuple(self._listeners.values()):
            try:
                listener(event)
            except Exception:
                logger.exception("a hook failed on %s", type(event).__name__)

    def next_call(self) -> int:
        """The number of a call that begins, counted from 1."""
        return next(self._numbers)

    def request_done(self, event: RequestDone) -> None:
        """Log a try in one line, and call the listeners."""
        logger.debug(
            "%s%s %s in %.0f ms, attempt %d, request id %s",
            event.operation,
            named(event.account),
            event.status or event.reason,
            event.seconds * 1000,
            event.attempt,
            event.request_id,
        )
        self.emit(event)
