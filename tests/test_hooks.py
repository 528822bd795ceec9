"""`gotsurge_async.hooks`: who listens, and what a listener can do."""

import logging
from functools import partial
from typing import Any

import pytest

from gotsurge_async.errors import ConfigError
from gotsurge_async.hooks import ChunkDone, Event, Hooks, RetryPlanned, listeners_of

EVENT = RetryPlanned(operation="tasks.get", attempt=1, wait=0.5, reason="refused")


def test_each_listener_is_called_in_turn() -> None:
    """Every listener gets every event, in the order in which they came."""
    events: list[tuple[str, Event]] = []
    hooks = Hooks(lambda event: events.append(("a", event)))
    hooks.add(lambda event: events.append(("b", event)))
    hooks.emit(EVENT)
    assert events == [("a", EVENT), ("b", EVENT)]


def test_listening_ends() -> None:
    """What `add` returns ends it; once more does nothing, and the same function added twice loses one turn."""
    events: list[Event] = []
    hooks = Hooks()
    first = hooks.add(events.append)
    hooks.add(events.append)
    first()
    first()
    hooks.emit(EVENT)
    assert events == [EVENT]


def test_a_listener_may_leave_while_it_is_called() -> None:
    """Ending to listen inside a listener does not skip the next one."""
    events: list[str] = []
    hooks = Hooks()

    def once(_: Event) -> None:
        events.append("once")
        leave()

    leave = hooks.add(once)
    hooks.add(lambda _: events.append("always"))
    hooks.emit(EVENT)
    hooks.emit(EVENT)
    assert events == ["once", "always", "always"]


def test_a_listener_that_fails_disturbs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """Its error is logged, and the others are called."""
    events: list[Event] = []

    def broken(_: Event) -> None:
        raise RuntimeError("the listener's own fault")

    Hooks(broken, events.append).emit(EVENT)
    assert events == [EVENT]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message == "a hook failed on RetryPlanned"
    assert "the listener's own fault" in caplog.text


def test_each_call_has_a_number() -> None:
    """The calls of a client have numbers of their own, whoever listens."""
    hooks = Hooks()
    assert [hooks.next_call() for _ in range(3)] == [1, 2, 3]


def test_events_are_values() -> None:
    """An event does not change."""
    event = ChunkDone(created=1, refused=0, in_doubt=0, unprocessed=0, seconds=0.1)
    with pytest.raises(AttributeError):
        event.created = 2  # type: ignore[misc]


class Awaited:
    """A listener that must be awaited."""

    async def __call__(self, _: Event) -> None:
        raise AssertionError("nobody awaits it")


async def awaited(_: Event) -> None:
    """Must be awaited, too."""
    raise AssertionError("nobody awaits it")


@pytest.mark.parametrize("listener", [awaited, Awaited(), partial(awaited)], ids=["function", "object", "partial"])
def test_a_listener_that_must_be_awaited_is_refused(listener: Any) -> None:
    """A listener that must be awaited is refused when it is added: nobody would await it."""
    with pytest.raises(ConfigError, match="async def"):
        Hooks().add(listener)
    with pytest.raises(ConfigError, match="async def"):
        listeners_of([listener])
