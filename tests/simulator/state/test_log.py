import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.simulator.loopback import check_url, masked_url
from gotsurge_async.simulator.state.log import (
    BODY_LIMIT,
    MASK,
    MOST_EVENTS,
    MOST_REQUESTS,
    SECRETS,
    Event,
    Events,
    Log,
    LoggedCall,
    State,
    Try,
)


def call(operation: str = "auth.exchange", body: bytes = b"", answer: bytes = b"") -> LoggedCall:
    made = LoggedCall(operation=operation, verb="POST", path="/oauth2/token", at=0.0)
    made.take_body(body)
    made.take_answer(200, answer)
    return made


def holding(secret: str) -> st.SearchStrategy[object]:
    """JSON of any shape in which a secret stands under each of the names of secrets."""
    bare = st.dictionaries(st.sampled_from(sorted(SECRETS)), st.just(secret), min_size=1)
    return st.recursive(bare, lambda inner: st.lists(inner, min_size=1) | st.dictionaries(st.text(), inner, min_size=1))


@pytest.mark.slow
@given(holding("s3cr3t-of-somebody"))
def test_no_secret_is_shown_wherever_it_stands(content: object) -> None:
    """Whatever the shape of a body or an answer that is about signing in, the values of secret fields are masked."""
    body = json.dumps(content).encode()
    made = call(body=body, answer=body)
    for shown in (made.shown_body, made.shown_answer, made.curl("http://x"), str(made.described()), repr(made)):
        assert "s3cr3t" not in shown
    assert MASK in made.shown_body


@pytest.mark.parametrize(
    "body", [b'{"secret_key": "s3cr3t"', b"secret_key=s3cr3t", b"[" * 100_000 + b'"s3cr3t"', b"\xff"], ids=range(4)
)
def test_what_cannot_be_read_is_not_shown_where_it_may_be_a_secret(body: bytes) -> None:
    """A body that is no JSON is hidden in a call that is about signing in, and shown in any other."""
    assert "s3cr3t" not in call(body=body).shown_body
    assert call("tasks.create", body=body).shown_body


@given(st.binary(max_size=300))
def test_any_body_can_be_shown(body: bytes) -> None:
    """Any body is shown as text that can be written."""
    made = call("tasks.create", body=body, answer=body)
    for text in (made.shown_body, made.shown_answer, made.curl("http://x")):
        text.encode()


def test_halves_of_characters_can_be_shown() -> None:
    """JSON may hold half a character, which no answer could be written with."""
    call("tasks.create", body=b'{"a": "\\ud800"}').shown_body.encode()


def test_long_bodies_are_cut_and_old_calls_forgotten() -> None:
    """Of a body so much is kept, and of calls so many; a call that is gone is not there."""
    made = call("tasks.create", body=b"x" * (BODY_LIMIT + 1234))
    assert len(made.body) == BODY_LIMIT
    assert made.shown_body.endswith("… and 1,234 bytes more")
    log: Log[LoggedCall] = Log("request", 5)
    for _ in range(7):
        log.add(call())
    assert [each.number for each in log.latest(100)] == [7, 6, 5, 4, 3]
    with pytest.raises(LookupError, match="there is no request 2"):
        log.find(2)


def test_full_logs_fit_into_memory() -> None:
    """A simulator that runs for days keeps at most some 150 MB, with bodies of the longest calls and whole tasks."""
    whole_task = 4 << 10
    assert MOST_REQUESTS * 2 * BODY_LIMIT + MOST_EVENTS * whole_task < 150_000_000


def event(state: State = "delivered") -> Event:
    made = Event(number=0, account="plain", task_id="t", tracking_id="A", status="accepted", at=0.0, body=b"x")
    made.state = state
    made.tries = [Try(0.0, 200, 0.0, "")]
    return made


def test_what_is_over_is_forgotten_where_there_is_too_much() -> None:
    """Only so many events are remembered; the oldest goes first, and the count still knows of all."""
    log = Events(10)
    for _ in range(25):
        log.add(event())
    assert [each.number for each in log.latest(100)] == list(range(25, 15, -1))
    assert log.count() == {"events": 25, "sent": 25, "delivered": 25, "waiting": 0, "lost": 0, "given_up": 0}
    with pytest.raises(LookupError, match="there is no event 15"):
        log.find(15)
    assert [each.number for each in log.latest(3)] == [25, 24, 23]


def test_what_still_waits_is_never_forgotten() -> None:
    """An event that is still to be sent stays, however many came after it."""
    log = Events(3)
    waiting = event("waiting")
    log.add(waiting)
    for _ in range(10):
        log.add(event())
    assert log.find(1) is waiting
    assert log.holds(waiting)
    waiting.state = "given up"
    log.add(event())
    assert len(log.described()) == 3
    assert not log.holds(waiting)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:9000/webhooks/a-token-of-some-length", "http://127.0.0.1:9000/webhooks/a-…"),
        ("http://127.0.0.1/hook?token=secret", "http://127.0.0.1/hook?…"),
        ("https://user:secret@example.com/x", "https://example.com/x"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    """What may be a receiver's secret is not shown: a long part of the path, the query, a user and a password."""
    assert masked_url(url) == shown


@pytest.mark.parametrize(
    ("url", "anywhere", "good"),
    [
        ("", False, True),
        ("http://localhost:9000/x", False, True),
        ("http://[::1]:9000/x", False, True),
        ("https://example.com/x", False, False),
        ("https://example.com/x", True, True),
        ("file:///etc/passwd", True, False),
        ("http://", True, False),
        ("http://[", True, False),
        ("http://127.0.0.1:99999999/", False, False),
    ],
)
def test_a_url_is_one_that_events_may_go_to(url: str, anywhere: bool, good: bool) -> None:
    """It is on this machine by default, and of HTTP in any case; a refusal names no more than its host."""
    if good:
        assert check_url(url, anywhere=anywhere) == url
        return
    with pytest.raises(ValueError, match=r"not on this machine|begins with|Invalid"):
        check_url(url, anywhere=anywhere)
