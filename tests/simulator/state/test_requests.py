import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.simulator.state.log import BODY_LIMIT, MASK, SECRETS, LoggedCall, LoggedCalls


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
    """Whatever comes is told as text that can be written."""
    made = call("tasks.create", body=body, answer=body)
    for text in (made.shown_body, made.shown_answer, made.curl("http://x")):
        text.encode()


def test_halves_of_characters_can_be_shown() -> None:
    """JSON may hold half a character, which no answer could be written with."""
    call("tasks.create", body=b'{"a": "\\ud800"}').shown_body.encode()


def test_long_bodies_are_cut_and_old_calls_forgotten() -> None:
    """Of a body so much is kept, and of calls so many, by number and by bytes; a call that is gone is not there."""
    made = call("tasks.create", body=b"x" * (BODY_LIMIT + 1234))
    assert len(made.body) == BODY_LIMIT
    assert made.shown_body.endswith("… and 1,234 bytes more")
    log = LoggedCalls(5, 3 * BODY_LIMIT)
    for _ in range(7):
        log.add(call())
    assert [each.number for each in log.latest(100)] == [7, 6, 5, 4, 3]
    for _ in range(5):
        log.add(call("tasks.create", body=b"x" * BODY_LIMIT))
    assert [each.number for each in log.latest(100)] == [12, 11, 10]
    with pytest.raises(LookupError, match="there is no request 9"):
        log.find(9)
