"""`gotsurge_async.calls.outcome`: messages, waits and ids, wherever the service puts them."""

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.api.endpoints import TASKS_GET
from gotsurge_async.calls.outcome import (
    Attempt,
    Outcome,
    attempt,
    blames_content,
    denial,
    error_code,
    error_of,
    outcome_of,
    request_id,
    retry_after,
    says_no,
    service_message,
)
from gotsurge_async.errors import BadRequest, CallError, NotSent, OutcomeUnknown, code_of
from gotsurge_async.secrets import Secret
from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response
from gotsurge_async.transports.memory import MemoryTransport

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", ""),
        (b"  \n ", ""),
        (b"plain words", "plain words"),
        (b'"a JSON text"', "a JSON text"),
        (b'{"message": "no"}', "no"),
        (b'{"error": "no"}', "no"),
        (b'{"error": {"code": 42, "message": "no"}}', "no"),
        (b'{"error": "invalid_grant", "error_description": "the code was used"}', "the code was used"),
        (b'{"error": true, "message": "no"}', "no"),
        (b'{"errors": ["a", "b"]}', "a; b"),
        (b'{"errors": [{"field": "price", "message": "too low"}, {"message": "b"}]}', "price: too low; b"),
        (
            b'{"errors": {"price": ["too low"], "currency": ["missing", "odd"]}}',
            "price: too low; currency: missing; odd",
        ),
        (b'[{"detail": "no", "path": "tasks[0]"}]', "tasks[0]: no"),
        (b'{"type": "about:blank", "title": "Bad", "detail": "price is too low"}', "price is too low"),
        (b'{"data": {"result": {"msg": "deep"}}}', "data: result: deep"),
        (b'{"code": "E17"}', "E17"),
        (b"{}", ""),
        (b"[]", ""),
        (b"null", ""),
        (b"42", ""),
        (b'{"message": "two\\nlines\\t and \\u0000 more"}', "two lines and more"),
        (b"<html><head><title>502 Bad &amp; Gateway</title></head><body>x</body></html>", "502 Bad & Gateway"),
        (b"<p>Too <b>many</b> requests</p>", "Too many requests"),
        (b'{"message": "half', '{"message": "half'),
        ("Größe \udcff".encode("utf-8", "surrogateescape"), "Größe \ufffd"),
    ],
)
def test_a_message_is_found_wherever_it_stands(body: bytes, message: str) -> None:
    """JSON of many shapes, HTML and text each give their one sentence."""
    assert service_message(body) == message


def test_a_message_has_an_end() -> None:
    """A long answer is cut to 300 characters."""
    assert service_message(b"x" * 10_000) == "x" * 297 + "..."
    assert len(service_message(b'{"message": "' + b"y" * 200_000 + b'"}')) == 300


@given(st.binary(max_size=200) | JSON.map(msgspec.json.encode))
def test_any_answer_gives_a_line(body: bytes) -> None:
    """Whatever the service answers, JSON or not, the message is one printable line of at most 300 characters."""
    message = service_message(body)
    assert message.isprintable()
    assert len(message) <= 300


def test_json_nested_too_deep_is_text() -> None:
    """An answer that cannot be read as JSON for its depth is taken as text."""
    assert service_message(b"[" * 100_000) == "[" * 297 + "..."


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        ("0", 0.0),
        (" 12 ", 12.0),
        ("1.5", 1.5),
        ("Thu, 01 Jan 2026 12:00:07 GMT", 7.0),
        ("Thu, 01 Jan 2026 20:00:07 +0800", 7.0),
        ("Thu, 01 Jan 2026 12:00:07 -0000", 7.0),
        ("Thursday, 01-Jan-26 12:00:07 GMT", 7.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("NaN", None),
        ("99999999999999999999", None),
        ("Mon, 1 Jan 2024 00:00:00 +999999999999999999999999", None),
        ("Mon, 1 Jan 99999 00:00:00 GMT", None),
        ("١٢", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    """Seconds are taken as they are, a date as the time until then but never less than 0, anything else as nothing."""
    assert retry_after({"retry-after": value}, NOW) == seconds
    assert retry_after({}, NOW) is None


@given(st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ ([+-]\d+|GMT)"))
def test_any_retry_after_is_survived(value: str) -> None:
    """Whatever the header holds, the wait is None or a number of seconds from 0."""
    seconds = retry_after({"retry-after": value}, NOW)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"x-request-id": "a", "cf-ray": "b"}, "a"),
        ({"x-correlation-id": "c"}, "c"),
        ({"x-request-id": "", "request-id": "d"}, "d"),
        ({"date": "now"}, None),
    ],
)
def test_a_request_id_is_read_from_its_usual_headers(headers: dict[str, str], found: str | None) -> None:
    """The first header that carries an id gives it."""
    assert request_id(headers) == found


@pytest.mark.parametrize("odd", ["x" * 201, "two words", "\x1b[31m", "<b>", "id\n", "é", "has-planted-in-it"])
def test_a_request_id_is_plain(odd: str) -> None:
    """An id is short and of letters, digits and a few signs, and holds no secret; another header may have one."""
    secrets = [Secret("planted")]
    assert request_id({"x-request-id": odd}, secrets) is None
    assert request_id({"x-request-id": odd, "cf-ray": "8f-SIN/a:b=+.c_d"}, secrets) == "8f-SIN/a:b=+.c_d"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error": "invalid_grant", "error_description": "used"}', "invalid_grant"),
        (b'{"error": "The token is wrong"}', ""),
        (b'{"error": {"code": "invalid_grant"}}', ""),
        (b'["invalid_grant"]', ""),
        (b"<html>invalid_grant</html>", ""),
        (b"\xff", ""),
        (b"", ""),
    ],
)
def test_only_an_oauth_answer_names_a_code(body: bytes, code: str) -> None:
    """The code of an error is a short name in the field `error` of a JSON object, and nothing else."""
    assert error_code(body) == code


@pytest.mark.parametrize(
    ("fault", "cls", "code"),
    [
        (MaybeSent("a transport of another package"), OutcomeUnknown, "E402"),
        (NothingSent("a transport of another package"), NotSent, "E401"),
        (RuntimeError("a bug"), OutcomeUnknown, "E402"),
        (TypeError("ClientResponse.__init__() missing 1 required argument: 'stream_writer'"), OutcomeUnknown, "E911"),
    ],
)
async def test_any_transports_failure_has_a_code(fault: Exception, cls: type[CallError], code: str) -> None:
    """The general code, where the transport gives none; aioresponses that does not fit aiohttp has its own."""
    request = Request(method="GET", url="https://api.example/v1/tasks/t-1")
    failed = await attempt(MemoryTransport([fault]), request)
    error = error_of(TASKS_GET, failed, attempts=1, sent=None, now=NOW)
    assert type(error) is cls
    assert (error.explain_code, code_of(failed.reason)) == (code, code)
    assert ("gotsurge_http" in str(error)) is (code == "E911")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://login.example:8443/a/planted?code=planted", "https://login.example:8443"),
        ("https://planted.example/", r"https://\*+\.example"),
        ("/login?next=https://planted", "another path"),
        ("", "another path"),
    ],
)
def test_a_redirect_says_where_to_and_what_to_do(status: int, location: str, target: str) -> None:
    """The host is named, and no path, query or secret; 302 and 303 may have acted."""
    failed = Attempt(outcome=outcome_of(status), response=Response(status=status, headers={"Location": location}))
    error = error_of(TASKS_GET, failed, attempts=1, sent=None, now=NOW, secrets=[Secret("planted")])
    assert re.search(rf"HTTP {status}: redirected to {target}[,:] .*correct the API base", str(error))
    assert "planted" not in str(error)
    assert (error.sent, error.explain_code) == (("perhaps", "E411") if status in (302, 303) else ("refused", "E407"))


@pytest.mark.parametrize(
    ("content", "no"),
    [
        ({"status": 422}, True),
        ({"status": "422"}, True),
        ({"code": "rejected"}, True),
        ({"success": False}, True),
        ({"ok": "No"}, True),
        ({"success": 0}, True),
        ({"error": {"price": "too low"}}, True),
        ({"errors": ["too low"]}, True),
        ({"status": 201, "code": 0, "success": True, "error": None, "errors": []}, False),
        ({"status": "broadcasting", "code": "ABC", "ok": 1}, False),
        ({"statuses": [{"status": "failed"}], "code": 4222}, False),
        *[({"error": word}, False) for word in ("none", " No error. ", "No problem", "nothing", "NO_ERRORS", "0", 0)],
        *[({"errors": word}, False) for word in (["none"], {"price": [], "code": "n/a"}, {"code": 0, "message": "OK"})],
        *[({"error": word}, True) for word in ("no such task", "No price", "nothing fits", True, 4220)],
        ({"errors": [{"message": "none"}, {"price": "too low"}]}, True),
        ({"error": "no"}, False),
        ({}, False),
    ],
)
def test_what_says_no(content: dict[str, Any], no: bool) -> None:
    """An error, the code or status of a failure, or a success that is false; but not the history of a task."""
    assert says_no(content) is no


@pytest.mark.parametrize(
    ("content", "blames"),
    [
        ({"errors": {"price": ["too low"]}}, True),
        ({"status": 422, "errors": {"tasks[0].to_address.zip_code": "is unknown"}}, True),
        ({"status": "error", "errors": [{"pointer": "/tasks/0/price", "detail": "too low"}]}, True),
        ({"errors": {"price": ["cannot change: the task is already accepted"]}}, False),
        ({"errors": {"price": ["too low"], "status": ["is accepted"]}}, False),
        ({"errors": [{"field": "price", "message": "too low"}, {"field": "status", "message": "is wrong"}]}, False),
        ({"errors": {"price": "too low", "task": "is not a draft"}}, False),
        ({"errors": {"from_time_window": "is over"}}, False),
        ({"message": "the price is too low"}, False),
        ({}, False),
    ],
)
def test_what_blames_the_content_of_an_order(content: dict[str, Any], blames: bool) -> None:
    """A field that stays as it is, and nothing about the state of its task; a sentence alone may mean anything."""
    body = msgspec.json.encode(content)
    assert blames_content(body) is blames
    failed = Attempt(outcome=Outcome.REJECTED, response=Response(status=422, body=body))
    error = error_of(TASKS_GET, failed, attempts=1, sent=None, now=NOW)
    assert isinstance(error, BadRequest)
    assert error.blames_content is blames


def test_the_reason_is_told() -> None:
    """A denial quotes the service's reason, if there is one."""
    assert denial({"status": 422, "error": "price too low"}) == "price too low"
    assert denial({"success": False}) == "it gives no reason"
    assert denial({"id": "t-A", "status": 201}) == ""
