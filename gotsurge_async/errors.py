"""Everything that this package raises on purpose.

::

    GotSurgeError
    ├── UsageError (also ValueError)      a call that cannot be right as written
    │   ├── TooManyInOneCall              more than 20 tasks or ids where the API takes 20
    │   ├── WrongLoop                     a client used from another event loop than its own
    │   ├── ClientClosed                  a client used before it was opened or after it was closed
    │   └── EndpointsAssumed              production, and a change on a path that no profile confirms
    ├── ConfigError (also ValueError)     settings that are missing, malformed or contradict each other
    ├── InvalidData (also ValueError)     data that we refuse to send, or cannot read; carries `problems`
    │   ├── RepeatedKey               an order whose tracking id was in the same stream already; it was not sent
    │   └── UnreadableAnswer              an answer that is not what the operation promises
    ├── SignInFailed                      a sign-in was begun, and did not end in tokens
    ├── SignInNeeded                      no token that works, and none to be had without a person
    └── CallError                         one call to the service did not succeed
        ├── NotSent                       certainly never processed
        ├── Rejected                      the service answered, and said no
        │   ├── BadRequest                400, 422, and every other refusal without a class of its own
        │   ├── Unauthorized              401, also after one replay with a new token
        │   ├── Forbidden                 403
        │   ├── NotFound                  404
        │   ├── Conflict                  409
        │   │   └── VersionConflict       an update made from a revision that is no longer the newest
        │   ├── TooLateToCancel           a cancel refused because the task has moved on; carries the task
        │   ├── PayloadTooLarge           413
        │   └── RateLimited               429, after all attempts
        ├── PartlyDone                    a batch of which some is done; carries what is, and why the rest is not
        └── OutcomeUnknown                sent, and nobody can say whether it was processed

Every one of them pickles, and has a code that ``gotsurge explain`` explains. None holds a secret in its message, its
arguments or its attributes, nor an exception of the HTTP library: what a library said is kept as text.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TypeAlias

from gotsurge_async.models.words import printable

if TYPE_CHECKING:
    from gotsurge_async.transports.base import Response

__all__ = [
    "BadRequest",
    "CallError",
    "ClientClosed",
    "ConfigError",
    "Conflict",
    "EndpointsAssumed",
    "Forbidden",
    "GotSurgeError",
    "InvalidData",
    "NotFound",
    "NotSent",
    "OutcomeUnknown",
    "PartlyDone",
    "PayloadTooLarge",
    "Problem",
    "RateLimited",
    "Rejected",
    "RepeatedKey",
    "SignInFailed",
    "SignInNeeded",
    "TooLateToCancel",
    "TooManyInOneCall",
    "Unauthorized",
    "UnreadableAnswer",
    "UsageError",
    "VersionConflict",
    "WrongLoop",
    "what_is_known",
]


class Coded(str):
    """A message with its error code, for a fault that is not an exception, such as that of a row."""

    __slots__ = ("explain_code",)
    explain_code: str | None

    def __new__(cls, message: object, explain_code: str | None = None) -> Self:
        """Make a coded text of a message or an error, with its own code unless ``explain_code`` is given."""
        coded = super().__new__(cls, str(message))
        coded.explain_code = explain_code or code_of(message)
        return coded


def code_of(message: object) -> str | None:
    """The code of a message, of an error, or of an error's message; None if there is none."""
    inner = message.args[0] if isinstance(message, Exception) and message.args else None
    return getattr(message, "explain_code", None) or getattr(inner, "explain_code", None)


Sent: TypeAlias = Literal["nothing", "refused", "perhaps"]


class GotSurgeError(Exception):
    """The root of the tree; the argument ``explain_code`` overrides the class's code.

    Attributes:
        sent: what GotSurge received: ``nothing``, a request that it ``refused``, or ``perhaps`` all of it. Unless it is
            ``perhaps``, you may send again.
    """

    sent: Sent = "nothing"
    _code: str | None = None

    def __init_subclass__(cls, code: str | None = None) -> None:
        """Make a subclass whose errors have this code, unless they have one of their own."""
        super().__init_subclass__()
        cls._code = code or cls._code

    def __init__(self, message: str = "", explain_code: str | None = None) -> None:
        super().__init__(message)
        if code := explain_code or code_of(message):
            self._code = code

    @property
    def explain_code(self) -> str | None:
        """The code of this error, such as ``E413``: ``gotsurge explain E413`` shows its meaning and what to do."""
        return self._code


class UsageError(GotSurgeError, ValueError):
    """A call that cannot be right as written; nothing was sent."""


class TooManyInOneCall(UsageError, code="E235"):
    """More tasks or ids than one call may carry (20, section "Create & Broadcast Tasks")."""


class WrongLoop(UsageError, code="E901"):
    """A call of a client from another event loop than the one in which it was opened."""


class ClientClosed(UsageError, code="E901"):
    """A call of a client that is not open: use it inside ``async with``, or between ``open()`` and ``close()``."""


class EndpointsAssumed(UsageError, code="E114"):
    """Production changes nothing on paths that no profile confirms, because they are assumed."""


class ConfigError(GotSurgeError, ValueError):
    """Settings that are missing, malformed or contradict each other."""


class Problem(NamedTuple):
    """One fault of one value."""

    path: str
    """Dotted field names and indices, such as ``tasks[7].to_address.latitude``; empty for the whole."""
    message: str
    """The fault, and what would be right."""
    value: Any = None
    """The faulty value; messages shorten it."""


class InvalidData(GotSurgeError, ValueError):
    """Data that we refuse to send or cannot read: ``problems`` lists every fault found."""

    def __init__(self, message: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.args: tuple[Any, ...] = (message, self.problems)  # as it is pickled

    @property
    def explain_code(self) -> str | None:
        """Its own code, or that of the first fault that has one."""
        return self._code or next(filter(None, (code_of(problem.message) for problem in self.problems)), None)

    def __str__(self) -> str:
        lines = [f"{p.path}: {p.message}" if p.path else p.message for p in self.problems]
        return "; ".join([str(self.args[0]), *lines]) if self.args[0] else "; ".join(lines)


class RepeatedKey(InvalidData, code="E229"):
    """An order whose tracking id was in the same stream already: this one was not sent.

    The earlier order has a result of its own, and GotSurge may have it: push this one only if it is another order, and
    under another tracking id.
    """


class UnreadableAnswer(InvalidData, code="E403"):
    """An answer of the service that is not JSON, or not the JSON that the operation promises.

    ``problems`` lists the first 100 faults; the message names the first 5, and how many more there are.
    """

    sent: Sent = "perhaps"

    def __init__(self, message: str = "", problems: Sequence[Problem] = (), more: int = 0) -> None:
        super().__init__(message, problems[:100])
        self._more = more + len(problems) - len(self.problems)
        self.args: tuple[Any, ...] = (message, self.problems, self._more)

    def __str__(self) -> str:
        first = str(InvalidData(self.args[0], self.problems[:5]))
        more = len(self.problems[5:]) + self._more
        return f"{first}; and {more} more" if more else first


class SignInFailed(GotSurgeError, code="E302"):
    """A sign-in was begun, and did not end in tokens (section "Basic Oauth2 steps").

    Attributes:
        reason: ``refused`` by the person; ``state`` unknown or of another browser; no ``code``; ``timeout``.
    """

    def __init__(self, message: str = "", *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class SignInNeeded(GotSurgeError, code="E301"):
    """No bearer token works, and a new one needs a person who signs in (section "Basic Oauth2 steps")."""

    def __init__(
        self, message: str = "sign in to GotSurge first", explain_code: str | None = None, *, account: str = ""
    ) -> None:
        super().__init__(message, explain_code)
        self.account = account


class CallError(GotSurgeError):
    """One call to the service did not succeed.

    Attributes:
        operation: the name in the endpoint table, such as ``tasks.create``.
        status: the HTTP status, or None when no answer came.
        service_message: the message of the answer, wherever it was in it; "" without one.
        request_id: the service's own id of the request, if its answer named one.
        attempts: how many times the request was tried, 1 for no replay.
        account: the account of the call, as the token store names it; "" if it belongs to none, as a sign-in.
    """

    def __init__(
        self,
        message: str = "",
        explain_code: str | None = None,
        *,
        operation: str = "",
        status: int | None = None,
        service_message: str = "",
        request_id: str | None = None,
        attempts: int = 1,
        account: str = "",
    ) -> None:
        super().__init__(message, explain_code)
        self.operation = operation
        self.status = status
        self.service_message = service_message
        self.request_id = request_id
        self.attempts = attempts
        self.account = account

    def __str__(self) -> str:
        head = self.operation or "call"
        if self.status is not None:
            head = f"{head}: HTTP {self.status}"
        text = ": ".join(part for part in (head, str(self.args[0]), self.service_message) if part)
        notes = [f"request id {self.request_id}"] if self.request_id else []
        if self.attempts > 1:
            notes.append(f"{self.attempts} attempts")
        if self.account not in ("", "default"):
            notes.append(f"account {self.account}")
        return printable(f"{text} ({', '.join(notes)})" if notes else text)  # an id of a task may be any text


class NotSent(CallError, code="E401"):
    """Certainly never processed: the connection was never made. Safe to repeat, whatever the operation."""


class Rejected(CallError):
    """The service answered, and said no.

    Attributes:
        code: the ``error`` of the answer where it is a short name, as OAuth has it: ``invalid_grant``; "" without one.
    """

    sent: Sent = "refused"

    def __init__(self, message: str = "", explain_code: str | None = None, *, code: str = "", **details: Any) -> None:
        super().__init__(message, explain_code, **details)
        self.code = code


class BadRequest(Rejected, code="E405"):
    """400, 422, or another 4xx without a class of its own; a redirect to elsewhere (301, 307, 308), too.

    Attributes:
        rows: for a batch, the indices (from 0) that the service named as the ones to blame; empty if it named none.
        blames_content: whether it named a field of an order, such as ``price``, and nothing that changes by itself.
        with_others: whether the order was refused only because its call was. The order itself may be valid.
    """

    def __init__(
        self,
        message: str = "",
        *,
        rows: tuple[int, ...] = (),
        blames_content: bool = False,
        with_others: bool = False,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.rows = rows
        self.blames_content = blames_content
        self.with_others = with_others


class Unauthorized(Rejected, code="E406"):
    """401, also after one replay with a new token."""


class Forbidden(Rejected, code="E406"):
    """403: the account may not do this."""


class NotFound(Rejected, code="E407"):
    """404: no such task or organization, or one that this account may not see."""


class Conflict(Rejected, code="E408"):
    """409: the present state does not allow this."""


class VersionConflict(Conflict):
    """An update made from a revision that is no longer the newest: read the task and try again.

    ``task`` is the task as it was read after the conflict, None if the service does not return its revision.
    """

    def __init__(self, message: str = "", *, task: Any = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.task = task


class TooLateToCancel(Rejected, code="E408"):
    """The task has moved past broadcasting (section "Cancel Task"); ``task`` is the task as it was read then."""

    def __init__(self, message: str = "", *, task: Any = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.task = task


class PayloadTooLarge(Rejected, code="E409"):
    """413: the request is too large."""


class RateLimited(Rejected, code="E410"):
    """429, after all attempts; ``retry_after`` is the wait in seconds that the service last asked for."""

    def __init__(self, message: str = "", *, retry_after: float | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after


class OutcomeUnknown(CallError, code="E402"):
    """The request left, and it is not known whether it was processed.

    For an operation that must not repeat this is the end: look the effect up, or ask a person; do not send
    ``body`` again blindly.

    Attributes:
        body: the exact body that was sent, b"" for none. It may hold personal data: it is in no message.
        response: the answer that does not show the outcome, with its ``body`` as bytes: an unreadable one, or a failure
            of the service; None if none came, or if it holds secrets. It is in no message either.
        done: of a create whose answer does not fit its orders, the tasks that are certain, in the order of the orders:
            `CreatedTasks`; else None.
        rows: with ``done``, the indices (from 0) of the orders in doubt. Empty if every order has its task, and the
            answer names others besides.
    """

    sent: Sent = "perhaps"

    def __init__(
        self,
        message: str = "",
        explain_code: str | None = None,
        *,
        body: bytes = b"",
        response: "Response | None" = None,
        done: Any = None,
        rows: tuple[int, ...] = (),
        **details: Any,
    ) -> None:
        super().__init__(message, explain_code, **details)
        self.body = body
        self.response = response
        self.done = done
        self.rows = rows


NOT_FOLLOWED = (CallError, SignInNeeded, ClientClosed)
"""The errors of a call that follows another one: such an error shows nothing about the first call."""


def what_is_known(error: BaseException) -> "NotSent | OutcomeUnknown | None":
    """Return what is known of a call that was cancelled or failed, from the error that ended its block::

        try:
            async with asyncio.timeout(5):
                created = await gs.tasks.create(orders)
        except TimeoutError as error:
            known = what_is_known(error)  # NotSent, or OutcomeUnknown with what was sent

    Other errors of this package count by their ``sent``: ``perhaps`` as `OutcomeUnknown`, ``nothing`` as `NotSent`.

    Returns:
        `NotSent` if certainly nothing was processed, `OutcomeUnknown` if the request may have been. None if the error
        says nothing of a call, or only of a refused one. In a group one that may have been processed goes first.
    """
    not_sent: NotSent | None = None
    unknown: OutcomeUnknown | None = None
    waiting, seen = [error], set[int]()
    while waiting:
        inner = waiting.pop()
        if id(inner) in seen:
            continue
        seen.add(id(inner))
        if isinstance(inner, OutcomeUnknown):
            return inner
        if isinstance(inner, GotSurgeError) and inner.sent == "perhaps":
            unknown = unknown or OutcomeUnknown(str(inner), inner.explain_code)
        elif isinstance(inner, GotSurgeError) and inner.sent == "nothing":
            not_sent = not_sent or (inner if isinstance(inner, NotSent) else NotSent(str(inner), inner.explain_code))
        waiting += filter(None, (inner.__cause__, inner.__context__))
        waiting += inner.exceptions if isinstance(inner, BaseExceptionGroup) else ()
    return unknown or not_sent


class PartlyDone(CallError, code="E412"):
    """A batch of which a part is done, and the rest is not or may not be.

    Attributes:
        done: what is done, as the call would have returned it: `UpdatedTasks`.
        failed: the reason why each other is not done, or may not be, by the task's id.
    """

    sent: Sent = "perhaps"

    def __init__(
        self, message: str = "", *, done: Any = None, failed: Mapping[str, GotSurgeError] = {}, **details: Any
    ) -> None:
        super().__init__(message, **details)
        self.done = done
        self.failed: dict[str, GotSurgeError] = dict(failed)


_REJECTIONS: dict[int, type[Rejected]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: PayloadTooLarge,
    429: RateLimited,
}


def rejection_class(status: int) -> type[Rejected]:
    """The class for an answer with this status, which must not be a success."""
    return _REJECTIONS.get(status, BadRequest)
