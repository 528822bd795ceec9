"""Events that a user can listen to. Every event is a frozen value without secrets and bodies."""

import logging
from collections.abc import Callable
from datetime import datetime

import attrs

logger = logging.getLogger("gotsurge_async")


@attrs.frozen(kw_only=True)
class RequestDone:
    """One try of one call has ended.

    Attributes:
        operation: the name in the endpoint table.
        method: the HTTP verb.
        status: None when no answer came; then ``reason`` says why.
        seconds: from the sending to the end of the answer.
        attempt: from 1.
        request_id: the service's own id of the request, if it gave one.
    """

    operation: str
    method: str
    status: int | None
    seconds: float
    attempt: int
    request_id: str | None = None
    reason: str = ""


@attrs.frozen(kw_only=True)
class RetryPlanned:
    """A call will be tried again after ``wait`` seconds; ``attempt`` has just failed."""

    operation: str
    attempt: int
    wait: float
    reason: str


@attrs.frozen(kw_only=True)
class TokenRefreshed:
    """An account has a new bearer token, until ``expires_at``."""

    account: str
    expires_at: datetime


@attrs.frozen(kw_only=True)
class SignInRequired:
    """An account cannot renew its token any more: a person must sign in.

    Attributes:
        reason: for people.
        works_until: when the present bearer token ends; None when it has ended, or there never was one.
    """

    account: str
    reason: str
    works_until: datetime | None = None


@attrs.frozen(kw_only=True)
class ChunkDone:
    """A chunk of a push has ended: how many orders were created, were refused, are in doubt, were not sent."""

    created: int
    refused: int
    in_doubt: int
    unsent: int
    seconds: float


Event = RequestDone | RetryPlanned | TokenRefreshed | SignInRequired | ChunkDone
Hook = Callable[[Event], None]


class Hooks:
    """Calls each listener in turn; one that raises is logged and does not disturb the call."""

    def __init__(self, *listeners: Hook) -> None:
        self._listeners = list(listeners)

    def add(self, listener: Hook) -> Callable[[], None]:
        """Listen from now on; the function returned ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def emit(self, event: Event) -> None:
        """Tell all listeners."""
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                logger.exception("a hook failed on %s", type(event).__name__)
