import re

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.simulator import Fault
from gotsurge_async.simulator.faults import Faults, Plan, fault_from_json

OPERATIONS = ("tasks.create", "tasks.get")


def struck(fault: Fault, calls: list[str]) -> list[bool]:
    book = Faults(OPERATIONS)
    book.order(fault)
    return [plan != Plan() for plan in map(book.plan, calls)]


faults = st.builds(
    Fault,
    operation=st.sampled_from(["*", *OPERATIONS]),
    when=st.sampled_from(["before", "after", "late"]),
    kind=st.sampled_from(["reset", "delay", "status", "garbage", "half", "silent", "restored"]),
    spares=st.sampled_from([(), ("tasks.get",)]),
    after_calls=st.integers(0, 5),
    every=st.just(1) | st.integers(1, 5),
    rate=st.floats(0, 1),
    times=st.none() | st.integers(1, 10),
    seed=st.integers(),
)
calls = st.lists(st.sampled_from(OPERATIONS), max_size=100)


@given(faults, calls)
def test_the_same_seed_strikes_the_same_calls(fault: Fault, names: list[str]) -> None:
    """Two runs with the same faults and the same calls are struck at the same places."""
    assert struck(fault, names) == struck(fault, names)


@given(faults, calls)
def test_other_operations_do_not_move_the_strikes(fault: Fault, names: list[str]) -> None:
    """The n-th matching call is struck or not, whatever else was called in between."""
    matching = [name for name in names if fault.is_about(name)]
    among_all = [hit for name, hit in zip(names, struck(fault, names), strict=True) if fault.is_about(name)]
    assert struck(fault, matching) == among_all


@given(faults, calls)
def test_a_fault_ends_after_its_times(fault: Fault, names: list[str]) -> None:
    """A fault never strikes more often than its times."""
    count = sum(struck(fault, names))
    assert fault.times is None or count <= fault.times


@given(faults, calls)
def test_a_fault_begins_after_its_calls(fault: Fault, names: list[str]) -> None:
    """No call is struck before so many matching ones, and a later beginning changes nothing else."""
    matching = [name for name in names if fault.is_about(name)]
    at_once = struck(attrs.evolve(fault, after_calls=0, every=1, times=None), matching)
    later = struck(attrs.evolve(fault, every=1, times=None), matching)
    assert later == [hit and number >= fault.after_calls for number, hit in enumerate(at_once)]


def test_a_script_of_two_faults() -> None:
    """The third call acts and its answer is lost; from the fourth on the service is down, for two calls."""
    book = Faults(OPERATIONS)
    lost = Fault(when="after", kind="reset", after_calls=2, times=1)
    down = Fault(kind="status", status=503, after_calls=3, times=2)
    book.order(lost)
    book.order(down)
    plans = [book.plan(name) for name in ("tasks.get", "tasks.create", "tasks.create", *["tasks.get"] * 3)]
    assert [plan.before for plan in plans] == [(), (), (), (down,), (down,), ()]
    assert [plan.after for plan in plans] == [(), (), (lost,), (), (), ()]


def test_a_spared_operation_is_left_alone() -> None:
    """An operation that a fault spares is neither struck nor counted."""
    fault = Fault(spares=["tasks.get"], after_calls=1)
    calls = ["tasks.get", "tasks.create", "tasks.get", "tasks.create"]
    assert struck(fault, calls) == [False, False, False, True]


@given(st.integers(), st.floats(0.2, 0.8))
def test_the_rate_is_the_share_of_struck_calls(seed: int, rate: float) -> None:
    """Over many calls the share of struck ones comes near the rate."""
    hits = sum(struck(Fault(rate=rate, seed=seed), ["tasks.get"] * 1000))
    assert abs(hits / 1000 - rate) < 0.1


def test_the_ends_of_the_rate() -> None:
    """A rate of 1 strikes every call, a rate of 0 none."""
    assert all(struck(Fault(rate=1), ["tasks.get"] * 50))
    assert not any(struck(Fault(rate=0), ["tasks.get"] * 50))


def test_delays_add_up_and_the_first_end_is_the_end() -> None:
    """A call meets all delays up to the first fault that ends it, and nothing after it."""
    book = Faults(OPERATIONS)
    late = Fault(when="after", kind="reset", times=1)
    slow, end, never = Fault(kind="delay"), Fault(kind="status", times=1), Fault(kind="garbage", times=1)
    for fault in (late, slow, end, never):
        book.order(fault)
    assert book.plan("tasks.get").before == (slow, end)
    assert book.plan("tasks.get").before == (slow, never)
    plan = book.plan("tasks.get")
    assert (plan.before, plan.after) == ((slow,), (late,))


@given(calls, st.integers(1, 5), st.integers(0, 5))
def test_every_so_manieth_call_is_struck(names: list[str], every: int, after_calls: int) -> None:
    """From its beginning on a fault strikes every n-th matching call."""
    hits = struck(Fault(every=every, after_calls=after_calls), names)
    begun = range(1 - after_calls, len(names) - after_calls + 1)
    assert hits == [number > 0 and number % every == 0 for number in begun]


def test_a_late_effect_has_its_place_between_before_and_after() -> None:
    """A call that ends before its effect has no late one; one whose late fault ends it has nothing after it."""
    book = Faults(OPERATIONS)
    end, slow = Fault(kind="reset", times=1), Fault(when="late", kind="delay", times=1)
    late, after, hidden = Fault(when="late"), Fault(when="after"), Fault(kind="hidden", seconds=3, when="late")
    for fault in (end, slow, late, after, hidden):
        book.order(fault)
    first, second, third = (book.plan("tasks.create") for _ in range(3))
    assert (first.before, first.late, first.after, first.bends) == ((end,), None, (), ())
    assert (second.late, second.after, second.bends) == (slow, (after,), (hidden,))
    assert (third.late, third.after, third.seconds("hidden")) == (late, (), 3)
    assert third.names == ("reset late", "hidden")
    assert [fault["struck"] for fault in book.described()] == [1, 1, 1, 1, 2]


def test_a_fault_of_creates_or_reads_leaves_other_calls_alone() -> None:
    """What only a create or a read can suffer is neither counted nor struck elsewhere, and not ordered for it."""
    calls = ["tasks.get", "tasks.create", "tasks.get", "tasks.create"]
    assert struck(Fault(kind="reused", after_calls=1), calls) == [False, False, False, True]
    assert struck(Fault(kind="outdated", after_calls=1), calls) == [False, False, True, False]
    assert struck(Fault(kind="restored"), calls) == [True] * 4
    kinds = "reset, delay, status, garbage, half, silent, outdated, restored"
    wrong = f"a fault of 'tasks.get' must be one of {kinds}, not 'hidden'"
    with pytest.raises(ValueError, match=re.escape(wrong)):
        Fault(operation="tasks.get", kind="hidden")


def test_an_unknown_operation_is_refused() -> None:
    """A fault for an operation that is not there is refused, and the known ones are named."""
    with pytest.raises(ValueError, match=r"'tasks\.make'; the operations are: tasks\.create, tasks\.get"):
        Faults(OPERATIONS).order(Fault(operation="tasks.make"))
    with pytest.raises(ValueError, match=r"'tasks\.make'; the operations are: tasks\.create, tasks\.get"):
        Faults(OPERATIONS).order(Fault(spares=["tasks.get", "tasks.make"]))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Input data was truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"operation": 1}', "Expected `str`, got `int`"),
        (b'{"kind": "explosion"}', "Invalid enum value 'explosion'"),
        (b'{"when": "now"}', "Invalid enum value 'now'"),
        (b'{"rate": 1.5}', "'rate' must be <= 1"),
        (b'{"status": "500"}', "Expected `int`, got `str`"),
        (b'{"status": 99}', "'status' must be >= 200"),
        (b'{"every": 0}', "'every' must be >= 1"),
        (b'{"times": 0}', "'times' must be >= 1"),
        (b'{"after_calls": -1}', "'after_calls' must be >= 0"),
        (b'{"seconds": -1}', "'seconds' must be >= 0"),
        (b'{"headers": {"Retry-After": 1}}', "Expected `str`, got `int`"),
        (b'{"speling": 1}', "unknown field `speling`"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(body: bytes, message: str) -> None:
    """A body that does not describe a fault is refused with the reason."""
    with pytest.raises(ValueError, match=re.escape(message)):
        fault_from_json(body)


def test_a_fault_can_be_written_as_json() -> None:
    """Every field of a fault can be given as JSON."""
    body = b"""{"operation": "tasks.create", "when": "after", "kind": "status", "status": 429,
                "headers": {"Retry-After": "1"}, "seconds": 0.5, "rate": 0.05, "times": 3, "seed": 9,
                "after_calls": 2, "every": 4, "spares": ["auth.refresh"]}"""
    assert fault_from_json(body) == Fault(
        operation="tasks.create",
        when="after",
        kind="status",
        status=429,
        headers={"Retry-After": "1"},
        seconds=0.5,
        rate=0.05,
        times=3,
        seed=9,
        after_calls=2,
        every=4,
        spares=("auth.refresh",),
    )
