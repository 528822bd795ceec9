"""`gotsurge_async.errors`: the tree, its pickles and its messages."""

import copy
import inspect
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gotsurge_async import errors
from gotsurge_async.errors import (
    BadRequest,
    CallError,
    ClientClosed,
    Coded,
    EndpointsAssumed,
    GotSurgeError,
    InvalidData,
    NotFound,
    NotSent,
    OutcomeUnknown,
    PartlyDone,
    Problem,
    RateLimited,
    Rejected,
    SignInNeeded,
    TooLateToCancel,
    TooManyInOneCall,
    UnreadableAnswer,
    UsageError,
    VersionConflict,
    code_of,
    rejection_class,
)
from gotsurge_async.ledger import LedgerError
from gotsurge_async.models.answers import CreatedTasks, Task
from gotsurge_async.tables.checks.faults import Fault
from gotsurge_async.transports.base import Response

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]

CALL: dict[str, Any] = {
    "operation": "tasks.create",
    "status": 409,
    "service_message": "taken",
    "request_id": "r-1",
    "attempts": 3,
}


def drawn_tree() -> dict[str, str | None]:
    """Each class in the docstring's drawing with the class it hangs on."""
    parents: dict[str, str | None] = {}
    branch: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.fullmatch(r"    ([│├└─ ]*)([A-Z]\w+)(?: .*)?", line)
        if found is None:
            continue
        depth = len(found[1])
        while branch and branch[-1][0] >= depth:
            branch.pop()
        parents[found[2]] = branch[-1][1] if branch else None
        branch.append((depth, found[2]))
    return parents


def test_the_tree_drawn_is_the_real_one() -> None:
    """The docstring draws every class below the class it derives from, and no other."""
    real = {cls.__name__: cls.__bases__[0].__name__ if cls is not GotSurgeError else None for cls in CLASSES}
    assert drawn_tree() == real


def test_the_drawing_says_which_are_value_errors() -> None:
    """Exactly the classes drawn with "also ValueError", and those below them, are ValueErrors."""
    drawn = set(re.findall(r"(\w+) \(also ValueError\)", errors.__doc__ or ""))
    assert {cls.__name__ for cls in CLASSES if ValueError in cls.__bases__} == drawn


def test_every_error_is_one_of_ours() -> None:
    """One class catches all of them."""
    assert all(issubclass(cls, GotSurgeError) for cls in CLASSES)


def details(cls: type[Exception]) -> dict[str, Any]:
    """Arguments that fill every attribute of a class of errors."""
    filled: dict[str, Any] = dict(CALL) if issubclass(cls, CallError) else {}
    if cls is TooLateToCancel:
        filled["task"] = Task(id="t", tracking_id="T", extra={"x": [1]})
    if cls is RateLimited:
        filled["retry_after"] = 2.5
    if cls is OutcomeUnknown:
        filled["body"] = b'{"tasks":[]}'
        filled["response"] = Response(status=200, headers={"etag": "1"}, body=b"half")
        filled["done"] = CreatedTasks(tasks=(Task(id="t"),))
        filled["rows"] = (1,)
    if cls is SignInNeeded:
        filled["account"] = "shop"
    if issubclass(cls, InvalidData):
        filled["problems"] = [Problem("tasks[0].price", "too low", 5)]
    return filled


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("filled", [True, False])
def test_every_error_pickles(cls: type[Exception], filled: bool) -> None:
    """An error comes back from a pickle as the same class with the same text and attributes."""
    error = cls("what happened", **details(cls)) if filled else cls()
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301
        assert type(back) is cls
        assert str(back) == str(error)
        assert back.args == error.args
        assert vars(back) == vars(error)


def test_a_pickle_keeps_notes() -> None:
    """What was added to an error with `add_note` is still there after a pickle."""
    error = Rejected("no", **CALL)
    error.add_note("in chunk 7")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["in chunk 7"]  # noqa: S301


HOSTILE = "t\r\n1\x1b[31m\u202e"
"""An id of a task, which may be any text."""


@pytest.mark.parametrize(
    "error",
    [
        OutcomeUnknown(f"the answer names more than one task for this order: {HOSTILE}", operation="tasks.create"),
        LedgerError(f"task {HOSTILE} is already recorded for another order", path="ledger.db"),
        Fault(file="in-doubt.csv", rule=f"its task {HOSTILE} exists"),
    ],
)
def test_no_id_of_a_task_breaks_the_line_of_a_message(error: object) -> None:
    """Nothing in it moves a cursor or reorders what is written."""
    assert "t  1 [31m " in str(error)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CallError(), "call"),
        (CallError("no connection: refused", operation="tasks.get"), "tasks.get: no connection: refused"),
        (Rejected("", **CALL), "tasks.create: HTTP 409: taken (request id r-1, 3 attempts)"),
        (RateLimited("too many requests", operation="a", status=429), "a: HTTP 429: too many requests"),
        (InvalidData("bad", [Problem("a.b", "wrong"), Problem("", "odd")]), "bad; a.b: wrong; odd"),
        (InvalidData("", [Problem("a", "wrong")]), "a: wrong"),
        (InvalidData("bad"), "bad"),
        (InvalidData(), ""),
        (SignInNeeded(), "sign in to GotSurge first"),
    ],
)
def test_messages_say_what_and_where(error: Exception, text: str) -> None:
    """The text names the operation, the status, the service's own words, its request id and the number of tries."""
    assert str(error) == text


class Late(OutcomeUnknown, code="E999"):
    """An error of a program of its own."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("", operation="tasks.get", status=404), "E407"),
        (BadRequest("no", explain_code="E407", operation="tasks.get", status=308), "E407"),
        (BadRequest("no", code="invalid_grant"), "E405"),
        (RateLimited("is required but missing", operation="tasks.get", status=429), "E410"),
        (VersionConflict("newer"), "E408"),
        (OutcomeUnknown("lost"), "E402"),
        (OutcomeUnknown("the service failed", "E411", status=502), "E411"),
        (OutcomeUnknown(Coded("the service failed", "E411"), status=502), "E411"),
        (UsageError("wrong", "E903"), "E903"),
        (UsageError("wrong"), None),
        (TooManyInOneCall("21"), "E235"),
        (
            InvalidData(
                "", [Problem("a", "no"), Problem("b", Coded("no", "E417"), 5), Problem("c", Coded("no", "E1"))]
            ),
            "E417",
        ),
        (InvalidData(Coded("no", "E413"), [Problem("b", Coded("no", "E417"))]), "E413"),
        (UnreadableAnswer("no", [Problem("b", Coded("no", "E237"))], more=2), "E403"),
        (SignInNeeded("no", "E302", account="shop"), "E302"),
        (Late("no"), "E999"),
        (GotSurgeError("is required but missing"), None),
        (GotSurgeError(), None),
    ],
)
def test_an_error_has_the_code_of_its_class_or_of_its_place(error: GotSurgeError, code: str | None) -> None:
    """It survives pickling and copying, and its text, whatever that is, takes no part in it."""
    before = (str(error), dict(vars(error)))
    assert error.explain_code == code
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301 - our own
        assert (type(again), again.explain_code, str(again), again.args) == (type(error), code, before[0], error.args)
    assert (str(error), vars(error)) == before
    with pytest.raises(AttributeError):
        error.explain_code = "E1"  # type: ignore[misc]


def test_a_message_keeps_its_code() -> None:
    """It is a text like any other, also after pickling and copying; in a longer text its code is given again."""
    message = Coded("no", "E417")
    assert (message, message + "!", code_of(message + "!")) == ("no", "no!", None)
    for again in (message, pickle.loads(pickle.dumps(message)), copy.copy(message), copy.deepcopy(message)):  # noqa: S301
        assert (again, type(again), code_of(again)) == ("no", Coded, "E417")
    assert code_of(Coded(message)) == code_of(Coded(ValueError(message))) == code_of(Coded(UsageError("x", "E417")))
    assert code_of(Coded("no")) is code_of("no") is code_of(ValueError("no")) is None


def test_the_catalogue_is_read_by_no_error() -> None:
    """Neither the package, nor an error that is raised or asked for its code, loads it."""
    lines = (
        "import sys, gotsurge_async",
        "error = gotsurge_async.NotFound('x', status=404)",
        "loaded = lambda: [name in sys.modules for name in ('gotsurge_async.catalogue', 'gotsurge_async.cli')]",
        "print(str(error), *loaded(), error.explain_code, *loaded())",
    )
    code = "\n".join(lines)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.split()[-5:] == ["False", "False", "E407", "False", "False"]


def test_what_was_sent_is_not_in_the_message() -> None:
    """What was sent and answered are attributes of an unknown outcome, and show neither in text nor in repr."""
    response = Response(status=200, body=b"1 Pioneer Rd")
    error = OutcomeUnknown("lost", body=b"Mr Ng, 1 Pioneer Rd", response=response, operation="tasks.create")
    assert error.body
    assert "Pioneer" not in f"{error} {error!r}"


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "BadRequest"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "NotFound"),
        (409, "Conflict"),
        (413, "PayloadTooLarge"),
        (418, "BadRequest"),
        (422, "BadRequest"),
        (429, "RateLimited"),
        (308, "BadRequest"),
    ],
)
def test_each_refusal_has_its_class(status: int, name: str) -> None:
    """A status without a class of its own is a bad request."""
    assert rejection_class(status).__name__ == name


@pytest.mark.parametrize("count", [0, 5, 6, 100, 5000])
def test_an_unreadable_answer_tells_its_first_faults(count: int) -> None:
    """However many faults an answer has, its error is short: it tells five, and how many more; it holds a hundred."""
    error = UnreadableAnswer("not it", [Problem(f"tasks[{number}].id", "is odd") for number in range(count)])
    for each in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own
        assert len(each.problems) == min(count, 100)
        assert str(each).count("is odd") == min(count, 5)
        assert str(each).endswith(f"; and {count - 5} more") == (count > 5)


def classes(root: type[GotSurgeError]) -> Iterator[type[GotSurgeError]]:
    """A class of errors, and all below it."""
    yield root
    for each in root.__subclasses__():
        yield from classes(each)


def test_every_error_says_what_is_certain() -> None:
    """What may be there is in one place: unknown outcomes, batches partly done, unreadable answers, failed ledgers."""
    perhaps = {each for each in classes(GotSurgeError) if each.sent == "perhaps"}
    roots = (OutcomeUnknown, PartlyDone, UnreadableAnswer, LedgerError)
    assert perhaps == {each for root in roots for each in classes(root)}
    assert {each for each in classes(GotSurgeError) if each.sent == "refused"} == set(classes(Rejected))
    assert {each.sent for each in (SignInNeeded, EndpointsAssumed, InvalidData, ClientClosed, NotSent)} == {"nothing"}
