"""The outcome of one try of a call, the content of its answer, and the error for it.

The document shows no error body and no header, so a message is taken from wherever it is.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import attrs
import msgspec
from msgspec import Struct

from gotsurge_async.api.endpoints import Endpoint
from gotsurge_async.codec.text import decode_plain
from gotsurge_async.errors import (
    BadRequest,
    CallError,
    Coded,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    UnreadableAnswer,
    code_of,
    rejection_class,
)
from gotsurge_async.models.tasks import Receipt
from gotsurge_async.models.words import one_line
from gotsurge_async.secrets import Secret, headers_for_log, longest_form, url_for_log, without
from gotsurge_async.starting import pattern
from gotsurge_async.transports.base import MAX_ANSWER, MaybeSent, NothingSent, Request, Response, Transport

MOVED = (301, 307, 308)
"""Statuses of answers that send the client to another URL."""
MOST_VALUES = 1_000_000
"""Values in an answer that is read; a page of 200 tasks has some fifty thousand."""


class Outcome(Enum):
    """The outcome of one try."""

    ANSWERED = "answered"
    """A success."""
    NOT_SENT = "not sent"
    """Certainly never processed."""
    REJECTED = "rejected"
    """The service answered, and said no."""
    RATE_LIMITED = "rate limited"
    """The service asks to wait (429)."""
    UNKNOWN = "unknown"
    """May have been processed."""


def outcome_of(status: int) -> Outcome:
    """The outcome that an answer's status shows.

    408 and 5xx do not say whether the request was processed. Neither do 302 and 303, by which a service may point to
    what it has just made; the other redirects ask for the request elsewhere, and so refuse it here.
    """
    if 200 <= status < 300:
        return Outcome.ANSWERED
    if status == 429:
        return Outcome.RATE_LIMITED
    if status in MOVED or (400 <= status < 500 and status != 408):
        return Outcome.REJECTED
    return Outcome.UNKNOWN


class Attempt(Struct, kw_only=True):
    """The end of one try: the outcome, and the answer or the reason why there is none."""

    outcome: Outcome
    response: Response | None = None
    reason: str = ""

    @property
    def status(self) -> int | None:
        """The HTTP status, None without an answer."""
        return self.response.status if self.response else None

    def request_id(self, secrets: Iterable[Secret]) -> str | None:
        """The service's own id of the request."""
        return request_id(self.response.headers, secrets) if self.response else None

    def retry_after(self, now: datetime) -> float | None:
        """Seconds that the service asks us to wait."""
        return retry_after(self.response.headers, now) if self.response else None


async def attempt(transport: Transport, request: Request, timeout: float | None = None) -> Attempt:
    """Send once, and return the outcome. Only a cancellation passes through: then the outcome is unknown.

    An exception that is not of the transport protocol proves nothing, and so counts as maybe sent. It is not kept: a
    library's exception may carry the request, and the token with it. The transport has ``timeout`` seconds, if not
    None.
    """
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            response = await transport.send(request)
    except NothingSent as error:
        return Attempt(outcome=Outcome.NOT_SENT, reason=Coded(error, code_of(error) or "E401"))
    except MaybeSent as error:
        return Attempt(outcome=Outcome.UNKNOWN, reason=Coded(error, code_of(error) or "E402"))
    except AssertionError:  # a test double says that it was used otherwise than the test expects
        raise
    except Exception as error:
        fault = MaybeSent(f"the transport raised {type(error).__name__} instead of NothingSent or MaybeSent", "E402")
        if limit.expired():
            fault = MaybeSent("no answer in time", "E402")
        elif isinstance(error, TypeError) and "stream_writer" in str(error):
            fault = MaybeSent(
                "this version of aioresponses does not work with this version of aiohttp: "
                "use the fixture gotsurge_http",
                "E911",
            )
        return Attempt(outcome=Outcome.UNKNOWN, reason=Coded(fault))
    if not _is_answer(response):
        fault = MaybeSent(
            "the transport returned something other than a Response with a status, text headers and a bytes body",
            "E402",
        )
        return Attempt(outcome=Outcome.UNKNOWN, reason=Coded(fault))
    outcome = outcome_of(response.status)
    if len(response.body) > MAX_ANSWER:
        return Attempt(outcome=Outcome.UNKNOWN, reason=f"the answer is larger than {MAX_ANSWER} bytes")
    if len(response.body) > MOST_VALUES and values_in(response.body) > MOST_VALUES:
        if outcome is Outcome.ANSWERED:
            return Attempt(outcome=Outcome.UNKNOWN, reason=f"the answer holds more than {MOST_VALUES:,} values")
        response = attrs.evolve(response, body=b"")
    return Attempt(outcome=outcome, response=response)


def _is_answer(response: object) -> bool:
    """Whether a transport, perhaps a user's own, has returned an answer with values of the right types."""
    return (
        isinstance(response, Response)
        and isinstance(response.status, int)
        and isinstance(response.body, bytes)
        and all(isinstance(value, str) for value in response.headers.values())
    )


def values_in(body: bytes) -> int:
    """An upper bound of the number of values in a JSON text, without making them, which takes much memory."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def error_of(
    endpoint: Endpoint[Any],
    failed: Attempt,
    *,
    attempts: int,
    sent: bytes | None,
    now: datetime,
    secrets: Sequence[Secret] = (),
    account: str = "",
) -> CallError:
    """The error for a call that ended with ``failed``; ``secrets`` are hidden where the service quotes them."""
    details: dict[str, Any] = {
        "operation": endpoint.name,
        "status": failed.status,
        "request_id": failed.request_id(secrets),
        "attempts": attempts,
        "account": account,
    }
    # A success that could not be read has data, and no message.
    if failed.response is not None and outcome_of(failed.response.status) is not Outcome.ANSWERED:
        details["service_message"] = service_message(failed.response.body, secrets)
    if failed.outcome is Outcome.NOT_SENT:
        return NotSent(failed.reason, **details)
    if failed.outcome is Outcome.UNKNOWN:
        why = Coded("GotSurge failed", "E411")
        if endpoint.verb != "GET":
            why = Coded("GotSurge failed, and it is unknown whether the call took effect", "E411")
        if failed.status in (302, 303):
            why = Coded(
                f"redirected to {_target(failed, secrets)}, and the call may have taken effect: {_MEND}",
                "E411",
            )
        return OutcomeUnknown(
            failed.reason or why,
            body=sent or b"",
            response=_for_people(endpoint, failed.response, secrets),
            **details,
        )
    code = error_code(failed.response.body) if failed.response is not None else ""
    details["code"] = code if without(code, secrets) == code else ""
    if failed.outcome is Outcome.RATE_LIMITED:
        return RateLimited("too many requests", retry_after=failed.retry_after(now), **details)
    cls = rejection_class(failed.status or 400)
    if failed.status in MOVED:
        return BadRequest(Coded(f"redirected to {_target(failed, secrets)}: {_MEND}", "E407"), **details)
    if cls is BadRequest and failed.response is not None:
        body = failed.response.body
        return BadRequest("", rows=named_rows(body), blames_content=blames_content(body), **details)
    return cls("", **details)


_MEND = "correct the API base, or the path in the profile"


def _target(failed: Attempt, secrets: Iterable[Secret]) -> str:
    """The target of a redirect without its path and its query, which may hold a secret."""
    location = failed.response.headers.get("location", "") if failed.response else ""
    host = url_for_log(without(location, secrets))  # before it is written in lower case
    return "another path" if host == "://" else _short(host)


def _for_people(endpoint: Endpoint[Any], answer: Response | None, secrets: Sequence[Secret]) -> Response | None:
    """The answer as an error keeps it, cut if it is long; None if it has secrets, as answers to calls without a
    bearer token have."""
    if answer is None or not endpoint.bearer:
        return None
    body = answer.body[:_SCANNED]
    text = body.decode("utf-8", "replace")
    if without(text, secrets) != text:
        return None
    if len(body) < len(answer.body):
        body = body[: max(len(body) - longest_form(secrets), 0)]
    headers = {name: without(value, secrets) for name, value in headers_for_log(answer.headers).items()}
    return attrs.evolve(answer, headers=headers, body=body)


def unreadable(endpoint: Endpoint[Any], error: UnreadableAnswer, answer: Response, secrets: Iterable[Secret]) -> str:
    """The reason why an answer cannot be read. It names only the places of faults if the answer may have secrets (a
    call without a bearer token), or is so long that a secret in it might be quoted in part."""
    if endpoint.bearer and len(answer.body) <= _SCANNED:
        quotes = answer.body.decode("utf-8", "replace") + str(error)
        if without(quotes, secrets) == quotes:
            return Coded(error)
    places = [problem.path for problem in error.problems[:5] if problem.path]
    if not places:
        return Coded("the answer does not fit the request", error.explain_code)
    fields = (
        f"field {places[0]} of the answer is" if len(places) == 1 else f"fields {', '.join(places)} of the answer are"
    )
    return Coded(f"the answer does not fit the request: the {fields} wrong or missing", error.explain_code)


# --- the content of an answer, wherever it is -------------------------------------------------------------------------

_MESSAGE_KEYS = (
    "message",
    "error_description",
    "error",
    "errors",
    "detail",
    "details",
    "title",
    "msg",
    "reason",
    "code",
)
_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-correlation-id", "x-amzn-requestid", "cf-ray")
_PLAIN_ID = pattern(r"[\w.:\-/+=]{1,200}", re.ASCII)
_MOST = 300
_SCANNED = 65_536
"""Bytes of an answer that are searched for secrets, and so the most that may be shown."""
_PAGE = 8_192
"""Characters of a page in HTML that are read."""


def service_message(body: bytes, secrets: Sequence[Secret] = ()) -> str:
    """The message of an error answer, from JSON of any shape, HTML or text, without ``secrets``; "" if it has none."""
    text = body[:_SCANNED].decode("utf-8", "replace").strip()
    if not text:
        return ""
    try:
        message, is_cut = _find(msgspec.json.decode(body), depth=0), False
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        is_page = text.startswith("<")
        message = _from_markup(text[:_PAGE]) if is_page else text
        is_cut = len(body) > _SCANNED or (is_page and len(text) > _PAGE)
    hidden = without(message[:_SCANNED], secrets)
    if is_cut or len(message) > _SCANNED:
        hidden = hidden[: max(len(hidden) - longest_form(secrets), 0)]
    return _short(hidden)


def message_in(content: Any) -> str:
    """The message in a part of an answer, of any shape; "" if it has none."""
    return _short(_find(content, depth=0))


def _find(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return value
    if depth > 6:
        return ""
    if isinstance(value, list):
        return "; ".join(filter(None, (_find(item, depth + 1) for item in value[:5])))
    if not isinstance(value, dict):
        return ""
    for key in _MESSAGE_KEYS:
        message = _find(value.get(key), depth + 1)
        if message:
            field = value.get("field") or value.get("path") or value.get("pointer")  # that the message is about
            return f"{field}: {message}" if isinstance(field, str) and field not in message else message
    # errors by field: {"price": ["too low"]}
    pairs = ((name, _find(item, depth + 1)) for name, item in list(value.items())[:5])
    return "; ".join(f"{name}: {message}" for name, message in pairs if message)


def _from_markup(text: str) -> str:
    import html  # here: it loads a table of all entities, and few services answer with pages

    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    if title and re.search(r"[^\W\d_]", title.group(1)):
        return html.unescape(title.group(1))
    # No title, or one that only repeats the status: then the text of the page.
    shown = re.sub(r"<(head|script|style)\b.*?</\1>", " ", text, flags=re.IGNORECASE | re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", " ", shown))


def _short(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= _MOST else f"{line[: _MOST - 3]}..."


def error_code(body: bytes) -> str:
    """The short name of an error in the field ``error`` of a JSON answer, as OAuth has it; "" without one."""
    try:
        code = msgspec.json.decode(body, type=dict[str, Any]).get("error")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""


_CODE = pattern(r"[a-z_]{1,40}")
_ROW = pattern(r"\btasks?[.\[/](\d{1,3})\b")


def named_rows(body: bytes) -> tuple[int, ...]:
    """The indices (from 0) of items in a batch that a refusal names: as ``index``, or in a path, ``tasks[3].price``."""
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()
    rows: set[int] = set()
    waiting, seen = [tree], 0
    while waiting and seen < 10_000:
        value, seen = waiting.pop(), seen + 1
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            index = value.get("index")
            if type(index) is int:
                rows.add(index)
            waiting += value.values()
            waiting += value  # errors by path: {"tasks[3].price": "too low"}
        elif isinstance(value, str) and len(value) <= _MOST:
            rows.update(map(int, _ROW.findall(value)))
    return tuple(sorted(rows))


_CONTENT = pattern(
    rb'"(?:[^"\s]*[./\]])?(?:price|currency|m(?:in|ax)_price|(?:from|to)_address|(?:from|to|officer)_contact'
    rb"|(?:pickup|delivery)_note_to_driver|cargo_(?:net_quantity|details)|vehicle_preference|service_type"
    rb'|total_item_\w+)(?:[./\[][^"\s]*)?"'
)
"""A field of an order, or a path in it, as a JSON text. Without time windows, which end while nobody changes them."""
_STATE = pattern(
    rb'draft|broadcast|already|current_status|status"\s*(?:[]},]|:\s*(?!\d|"(?:\d|error|fail)))', re.IGNORECASE
)


def blames_content(body: bytes) -> bool:
    """Whether a refusal names a field of an order, and nothing that may be about the state of its task."""
    return _CONTENT.search(body) is not None and _STATE.search(body) is None


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that the service asks us to wait, from Retry-After as seconds or as an HTTP date; None without one."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", value):
        return float(value)
    # Imported here: it loads half of the package email, for a header that is hardly ever a date.
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())


def request_id(headers: Mapping[str, str], secrets: Iterable[Secret] = ()) -> str | None:
    """The service's own id of a request, if a header (lower-case names) has one that is plain and not a secret."""
    for name in _REQUEST_ID_HEADERS:
        value = headers.get(name, "")
        if _PLAIN_ID.fullmatch(value) and without(value, secrets) == value:
            return value
    return None


# --- items that say no in a successful answer, as in a 207 -----------------------------------------------------------

_NO = frozenset(("false", "no", "error", "failed", "failure", "rejected", "refused", "denied", "invalid"))
_RESULTS = frozenset(("error", "errors", "success", "ok", "code", "status"))
"""The names of fields in which an item may say no."""
_SEVERAL = 207
"""The status of an answer whose items each have a result of their own."""
_HINTS = b'"error', b'"success"'
"""In other answers an item that says no has one of these names; looking for them costs hardly anything."""


def says_no(content: Mapping[str, Any]) -> bool:
    """Whether a part of an answer has an error, the code or status of a failure, or a success or ok that is false."""
    if content.keys().isdisjoint(_RESULTS):
        return False
    flags, codes = ([_word(content.get(name)) for name in names] for names in (("success", "ok"), ("code", "status")))
    return (
        _is_fault(content.get("error"))
        or _is_fault(content.get("errors"))
        or "0" in flags
        or not _NO.isdisjoint([*flags, *codes])
        or any(len(code) == 3 and code.isdecimal() and "300" <= code < "600" for code in codes)
    )


_NOTHING = pattern(
    r"(?:none|no|nothing|null|nil|n/?a|-+|0|false|ok|no[\s_-]*(?:errors?|problems?|issues?|faults?)(?: found)?)[.!]*",
    re.IGNORECASE,
)


def _is_fault(value: Any, depth: int = 0) -> bool:
    """Whether the value of an item's error is one, and not a word for none."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    if inner is not None and depth < 6:
        return any(_is_fault(part, depth + 1) for part in inner)
    return bool(value) and _NOTHING.fullmatch(str(value).strip()) is None


def _word(value: Any) -> str:
    return str(value).strip().casefold() if isinstance(value, str | int) else ""


def denial(content: Mapping[str, Any]) -> str:
    """The reason that a part of an answer gives for its no; "" if it does not say no."""
    return (message_in(content) or "it gives no reason") if says_no(content) else ""


def denials(items: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, str]:
    """The reasons of items that say no, by the ids of their tasks; each item is passed with its task's id."""
    return {task_id: why for task_id, content in items if content and (why := denial(content))}


def denied_receipts(answer: Response, receipts: Iterable[Receipt]) -> dict[str, str]:
    """The reasons of items of a create's answer that say no, by the ids that it names."""
    if answer.status != _SEVERAL and not any(hint in answer.body for hint in _HINTS):
        return {}
    return denials([(receipt.id, decode_plain(receipt.raw)) for receipt in receipts])


def denied_rows(receipts: Sequence[Receipt], named: Sequence[Sequence[int]]) -> dict[int, str]:
    """The reasons for which a create's answer denies orders, by their indices; only of those that one item names.

    ``named`` has the indices of the orders that each item may name.
    """
    items: dict[int, list[Receipt]] = {}
    shared: set[int] = set()
    for receipt, rows in zip(receipts, named, strict=True):
        for row in rows:
            items.setdefault(row, []).append(receipt)
            shared.update([row] if len(rows) > 1 else [])
    denied = {row: denial(decode_plain(same[0].raw)) for row, same in items.items() if len(same) == 1}
    return {row: why for row, why in denied.items() if why and row not in shared}
