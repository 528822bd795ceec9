"""`gotsurge_async.hooks`: who listens, and what a listener can do."""

import logging

import attrs
import pytest

from gotsurge_async.hooks import CallDone, CallStarted, ChunkDone, Event, Hooks, RetryPlanned

EVENT = RetryPlanned(operation="tasks.get", attempt=1, wait=0.5, reason="refused")


def test_each_listener_is_told_in_turn() -> None:
    """Every listener gets every event, in the order in which they came."""
    told: list[tuple[str, Event]] = []
    hooks = Hooks(lambda event: told.append(("a", event)))
    hooks.add(lambda event: told.append(("b", event)))
    hooks.emit(EVENT)
    assert told == [("a", EVENT), ("b", EVENT)]


def test_listening_ends() -> None:
    """What `add` returns ends it; once more does nothing, and the same function added twice loses one turn."""
    told: list[Event] = []
    hooks = Hooks()
    first = hooks.add(told.append)
    hooks.add(told.append)
    first()
    first()
    hooks.emit(EVENT)
    assert told == [EVENT]


def test_a_listener_may_leave_while_it_is_told() -> None:
    """Ending to listen inside a listener does not skip the next one."""
    told: list[str] = []
    hooks = Hooks()

    def once(_: Event) -> None:
        told.append("once")
        leave()

    leave = hooks.add(once)
    hooks.add(lambda _: told.append("always"))
    hooks.emit(EVENT)
    hooks.emit(EVENT)
    assert told == ["once", "always", "always"]


def test_a_listener_that_fails_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Its error is logged, and the others are told."""
    told: list[Event] = []

    def broken(_: Event) -> None:
        raise RuntimeError("the listener's own fault")

    Hooks(broken, told.append).emit(EVENT)
    assert told == [EVENT]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message == "a hook failed on RetryPlanned"
    assert "the listener's own fault" in caplog.text


def test_a_call_is_told_from_start_to_end() -> None:
    """Each call has a number of its own, and its end says how long it took and what it raised."""
    told: list[Event] = []
    times = iter([10.0, 12.5, 20.0, 20.5])
    hooks = Hooks(told.append)
    details = {"operation": "tasks.get", "method": "GET", "path": "/tasks/{task_id}", "server": "https://a.example"}
    with hooks.call(**details, monotonic=lambda: next(times)) as number:
        assert number == 1
    with pytest.raises(KeyError), hooks.call(**details, monotonic=lambda: next(times)):
        raise KeyError("x")
    assert told == [
        CallStarted(call=1, **details),
        CallDone(call=1, operation="tasks.get", seconds=2.5),
        CallStarted(call=2, **details),
        CallDone(call=2, operation="tasks.get", seconds=0.5, error="KeyError"),
    ]


def test_events_are_values() -> None:
    """An event does not change."""
    event = ChunkDone(created=1, refused=0, in_doubt=0, unsent=0, seconds=0.1)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.created = 2  # type: ignore[misc]
