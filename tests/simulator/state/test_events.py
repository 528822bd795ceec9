import pytest

from gotsurge_async.simulator.loopback import check_url, masked_url
from gotsurge_async.simulator.state.log import Event, Events, State, Try


def event(state: State = "delivered", size: int = 10) -> Event:
    made = Event(number=0, account="plain", task_id="t", tracking_id="A", status="accepted", at=0.0, body=b"x" * size)
    made.state = state
    made.tries = [Try(0.0, 200, 0.0, "")]
    return made


@pytest.mark.parametrize(("most", "size"), [(10, 1), (1000, 100)])
def test_what_is_over_is_forgotten_where_there_is_too_much(most: int, size: int) -> None:
    """Only so many events, and bytes, are remembered; the oldest goes first, and the count still knows of all."""
    log = Events(most, 1000)
    for _ in range(25):
        log.add(event(size=size))
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
    """It is on this machine unless told otherwise, and of HTTP in any case; a refusal names no more than its host."""
    if good:
        assert check_url(url, anywhere=anywhere) == url
        return
    with pytest.raises(ValueError, match=r"not on this machine|begins with|Invalid"):
        check_url(url, anywhere=anywhere)
