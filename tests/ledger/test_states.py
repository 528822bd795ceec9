"""The table of states, and times as the ledger stores them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gotsurge_async.clock import from_microseconds, to_microseconds
from gotsurge_async.ledger.states import (
    CLAIMED,
    DOUBTFUL,
    LIVE,
    OWNED_ELSEWHERE,
    TRANSITIONS,
    UNFINISHED,
    UNPROCESSED,
    WAITING,
    NewOrder,
    OrderRow,
    OrderState,
    PendingOrder,
    Word,
    sources,
    word_of,
)


def test_every_state_has_its_followers() -> None:
    """Each state is in the table, each can be reached, and nothing leads out of what is final."""
    final = OWNED_ELSEWHERE | {OrderState.REFUSED, OrderState.CANCELLED}
    assert set(TRANSITIONS) == set(OrderState)
    assert set().union(*TRANSITIONS.values()) == set(OrderState) - {OrderState.LOADING}
    assert all(TRANSITIONS[state] <= final for state in final)


def test_what_may_have_been_sent_is_never_sent_again_without_a_word() -> None:
    """From in doubt no way leads to a state that sends, but through a recorded draft."""
    assert TRANSITIONS[OrderState.IN_DOUBT] & {OrderState.PENDING, OrderState.SENDING, OrderState.DRAFTING} == set()
    assert sources(OrderState.SENDING) == {OrderState.PENDING}
    drafts = {
        OrderState.LOADING,
        OrderState.DRAFTING,
        OrderState.DRAFTED,
        OrderState.IN_DOUBT,
        OrderState.CANCELLING,
    }
    assert sources(OrderState.BROADCASTING) == drafts


def test_no_transition_revives_a_key() -> None:
    """A row that gave up its key never owns it again: only the loading of a new row takes a key."""
    for state, after in TRANSITIONS.items():
        if state not in LIVE and state is not OrderState.LOADING:
            assert not after & LIVE
    assert CLAIMED <= LIVE


def test_every_state_has_one_word() -> None:
    """The groups do not contradict each other, and an order is in flight only while somebody has its run."""
    assert {state: word_of(state) for state in OrderState if state in DOUBTFUL} == dict.fromkeys(
        DOUBTFUL, Word.IN_DOUBT
    )
    assert {word_of(state) for state in UNPROCESSED} == {Word.UNPROCESSED}
    assert {word_of(state, held=True) for state in CLAIMED} == {Word.IN_FLIGHT}
    assert Word.IN_FLIGHT not in {word_of(state) for state in OrderState}
    assert not DOUBTFUL & UNPROCESSED
    assert WAITING <= UNFINISHED
    assert not OWNED_ELSEWHERE & (UNFINISHED | LIVE)


def test_what_an_order_says_is_not_in_its_repr() -> None:
    """Orders are shown, in logs and errors, by number, line and key: the rest is private."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    row = OrderRow(1, 7, "K", OrderState.CREATED, b"Private", b"Row", None, None, None, None, moment)
    for order in (NewOrder(7, "K", b"Private", b"Private", b"Private"), PendingOrder(1, 7, "K", b"Private"), row):
        assert "7" in repr(order)
        assert "Private" not in repr(order)
    assert row.source == b"Row"
    assert replace(row, source_row=None).source == b"Private"


@given(st.datetimes(timezones=st.just(UTC)), st.integers(-12, 14))
def test_a_time_comes_back_to_the_microsecond(moment: datetime, hours: int) -> None:
    """A time stored in any zone is read back as the same moment, in UTC."""
    stored = to_microseconds(moment.astimezone(timezone(timedelta(hours=hours))) if 2 < moment.year < 9998 else moment)
    assert from_microseconds(stored) == moment
    assert from_microseconds(stored).tzinfo is UTC


def test_a_naive_time_is_refused() -> None:
    """A clock that has no time zone is an error, not a guess."""
    with pytest.raises(ValueError, match="has no time zone"):
        to_microseconds(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point
