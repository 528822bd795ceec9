"""A transport without a network: a function or a list that answers, and a record of all requests."""

import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from gotsurge_async.transports.base import Request, Response

__all__ = ["MemoryTransport"]

Handler = Callable[[Request], Response | Awaitable[Response]]
Scripted = Response | BaseException


class MemoryTransport:
    """Answers from a function (plain or async), or from a list in which an exception is raised instead.

    Attributes:
        sent: every request, in order.
    """

    def __init__(self, answers: Handler | Iterable[Scripted]) -> None:
        self.sent: list[Request] = []
        self.closed: bool = False
        self._handler: Handler | None = answers if callable(answers) else None
        self._script: deque[Scripted] = deque() if callable(answers) else deque(answers)

    async def send(self, request: Request) -> Response:
        """Answer ``request``.

        Raises:
            AssertionError: the list of answers has run out.
        """
        self.sent.append(request)
        if self._handler is not None:
            answer = self._handler(request)
            return await answer if inspect.isawaitable(answer) else answer
        if not self._script:
            raise AssertionError(f"no scripted answer is left for {request!r}")
        scripted = self._script.popleft()
        if isinstance(scripted, BaseException):
            raise scripted
        return scripted

    async def close(self) -> None:
        """Note that it was closed."""
        self.closed = True
