"""A call as an operation receives it, its reply, and the shapes of refusals."""

import html
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from attrs import field, frozen

from gotsurge_async.simulator.options import SimulatorOptions

JSON = "application/json"
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@frozen(kw_only=True)
class Call:
    """One call: the content of the HTTP request, and the moment at which it is served.

    Faults may change it. ``hides_for``: seconds for which no read shows the tasks that it creates. ``lag``: seconds by
    which it reads an older state. ``reuses_ids``: its answer has the ids of earlier tasks.
    """

    body: bytes
    path: Mapping[str, str]
    query: Mapping[str, str]
    authorization: str = field(repr=False)
    now: float
    hides_for: float = 0.0
    lag: float = 0.0
    reuses_ids: bool = False


@frozen
class Reply:
    """A reply: status, body, media type, and further headers."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = _NO_HEADERS


class Problem(msgspec.Struct, frozen=True):
    """A problem, as JSON shows it: the index of the task (None for the call), the field, and the reason."""

    index: int | None
    field: str
    message: str

    @property
    def place(self) -> str:
        """The path of the field from the root of the body, such as ``tasks[3].price``."""
        row = "" if self.index is None else f"tasks[{self.index}]"
        return ".".join(part for part in (row, self.field) if part)


class RefusedError(Exception):
    """The service refuses a call. ``code`` is a word for programs, ``problems`` are the details if there are any."""

    def __init__(self, status: int, code: str, message: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.problems = problems


def invalid(*problems: Problem) -> RefusedError:
    """A refusal of a call's content; its message is that of the first problem."""
    return RefusedError(422, "invalid", problems[0].message, problems)


def json_reply(content: object, status: int = 200, headers: Mapping[str, str] = _NO_HEADERS) -> Reply:
    """A reply with a JSON body."""
    return Reply(status, msgspec.json.encode(content), JSON, headers)


def number_in(text: str) -> int:
    """The number of an event, a call or a fault; raises LookupError for text that cannot be one."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise LookupError(f"there is nothing of the number {text!r}")
    return int(text)


def refusal_reply(refused: RefusedError, options: SimulatorOptions) -> Reply:
    """A refusal in the shape that the options require."""
    problems = refused.problems if options.refusal_names_rows else ()
    text = "; ".join(f"{problem.place}: {problem.message}" for problem in problems) or refused.message
    headers = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else _NO_HEADERS
    shape = options.error_shape
    if shape == "empty":
        return Reply(refused.status, b"", "text/plain", headers)
    if shape == "text":
        return Reply(refused.status, text.encode(), "text/plain", headers)
    if shape == "html":
        page = f"<!doctype html><html><head><title>{refused.status}</title></head><body><h1>{html.escape(text)}</h1>"
        return Reply(refused.status, f"{page}</body></html>\n".encode(), "text/html", headers)
    media_type = "application/problem+json" if shape == "problem" else JSON
    content = _json_shape(shape, refused, problems, text)
    return Reply(refused.status, msgspec.json.encode(content), media_type, headers)


def _json_shape(shape: str, refused: RefusedError, problems: tuple[Problem, ...], text: str) -> Any:
    code, message = refused.code, refused.message
    return {
        "errors": {"error": code, "message": message, "errors": problems},
        "message": {"message": text},
        "error-string": {"error": text},
        "error-object": {"error": {"code": code, "message": message, "details": problems}},
        "problem": {"type": "about:blank", "title": code, "status": refused.status, "detail": text},
        "list": problems or [{"message": message}],
    }[shape]
