"""The table of states."""

from gotsurge_async.bulk.ledger import CLAIMED, LIVE, TRANSITIONS, OrderState
from gotsurge_async.bulk.ledger.states import DOUBTFUL, FINAL, UNFINISHED, UNPROCESSED, WAITING, Word, sources, word_of


def test_every_state_has_its_followers() -> None:
    """Each state is in the table, each can be reached, and nothing leads out of what is final."""
    assert set(TRANSITIONS) == set(OrderState)
    assert set().union(*TRANSITIONS.values()) == set(OrderState) - {OrderState.LOADING}
    assert {state for state, after in TRANSITIONS.items() if not after} <= FINAL
    assert all(TRANSITIONS[state] <= FINAL for state in FINAL)


def test_what_may_have_been_sent_is_never_sent_again_without_a_word() -> None:
    """From in doubt no way leads to a state that sends, but through a recorded draft."""
    assert TRANSITIONS[OrderState.IN_DOUBT] & {OrderState.PENDING, OrderState.SENDING, OrderState.DRAFTING} == set()
    assert sources(OrderState.SENDING) == {OrderState.PENDING}
    assert sources(OrderState.BROADCASTING) == {OrderState.LOADING, OrderState.DRAFTED, OrderState.IN_DOUBT}


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
    assert not FINAL & (UNFINISHED | LIVE)
