"""Faults for people: one line each, and grouped where one thing is wrong in many rows; in flat memory."""

import tracemalloc

from gotsurge_async.models.rules import Severity
from gotsurge_async.tables.checks.faults import MOST_GROUPS, Fault, FaultGroups, Original, SourceReport

PHONE = "is not E.164"


def phone(line: int, value: str = "+65 9175 5010", **more: str) -> Fault:
    """A phone number with spaces."""
    return Fault(file="f", line=line, column="to_contact.phone", value=value, rule=PHONE, **more)  # type: ignore[arg-type]


def grouped(*faults: Fault) -> list[str]:
    """The groups of faults, as a person sees them."""
    groups = FaultGroups()
    for fault in faults:
        groups.add(fault)
    return list(map(str, groups))


def test_a_fault_is_one_line_of_text() -> None:
    """File, line, column, value, rule and proposal; what is not there leaves no trace."""
    fault = Fault(
        file="orders.csv",
        line=17,
        column="price",
        value="1,50",
        rule="write an amount as a decimal number, such as 48.50",
    )
    assert str(fault) == 'orders.csv:17: price: "1,50": write an amount as a decimal number, such as 48.50'
    assert str(Fault(file="orders.csv", line=1, rule="the file is empty")) == "orders.csv:1: the file is empty"
    assert str(Fault(file="orders.csv", rule="is no file")) == "orders.csv: is no file"
    messages = 'f:2: to_contact.phone: "+65 9175 5010": is not E.164; did you mean "+6591755010"?'
    assert str(phone(2, proposal="+6591755010")) == messages


def test_a_value_stays_on_its_line_and_is_shortened() -> None:
    """A line break or an escape sequence of a terminal in a value does nothing, and a novel is not printed."""
    assert str(Fault(file="f", value="a\nb\x1b[31m", rule="r")) == 'f: "a\\nb\\u001b[31m": r'
    assert len(str(Fault(file="f", value="x" * 1000, rule="r"))) < 80
    assert len(Fault(file="f", column="c" * 10**6, value="x" * 10**6, rule="r").value or "") == 200
    assert "é" in str(Fault(file="f", value="é", rule="r"))


def test_all_are_counted_and_the_first_are_kept() -> None:
    """Faults and warnings apart; only faults make a file unfit."""
    report = SourceReport(kept=2)
    assert report.ok
    report.add(Fault(file="f", line=1, rule="w", severity=Severity.WARNING))
    assert report.ok
    assert list(map(str, report.warnings)) == ["f:1: w"]
    for line in range(1, 6):
        report.add(Fault(file="f", line=line, rule="r"))
    assert not report.ok
    assert (report.fault_count, report.warning_count) == (5, 1)
    assert list(report.lines()) == ["f:1: r", "f:2: r", "… and 3 more faults"]


def test_one_mistake_in_many_rows_is_one_line() -> None:
    """The largest group comes first, with its count, its first fault and the next lines; a single fault is as ever."""
    alone = Fault(file="f", line=9, column="price", value="x", rule="no money")
    many = (phone(line, proposal="+6591755010") for line in range(2, 20_002))
    first = 'Line 2: "+65 9175 5010"; did you mean "+6591755010"? Also lines 3, 4, 5, 6, …'
    assert grouped(alone, *many) == [
        f"f: to_contact.phone (20,000 faults): is not E.164. {first}",
        'f:9: price: "x": no money',
    ]
    assert grouped(phone(2), phone(3)) == [
        'f: to_contact.phone (2 faults): is not E.164. Line 2: "+65 9175 5010"; also line 3'
    ]


def test_a_group_is_a_rule_whatever_it_says_of_each_value() -> None:
    """Numbers, times and quoted texts in a rule tell no faults apart; files, columns and rules do."""
    first = Fault(file="f", line=1, column="price", rule="SGD 1.50 is below the lowest price, SGD 2.00")
    second = Fault(file="f", line=2, column="price", rule="SGD 0.20 is below the lowest price, SGD 2.00")
    late = Fault(file="f", line=3, column="end", rule="too late (start is 2030-03-04T09:00:00+08:00)")
    later = Fault(file="f", line=4, column="end", rule="too late (start is 2030-04-04T10:00:00Z)")
    near = Fault(file="f", line=5, column="a", rule='is unknown; did you mean "b"? Use one of b, c')
    other = Fault(file="f", line=6, column="a", rule='is unknown; did you mean "c"? Use one of b, c')
    assert len(grouped(first, second, late, later, near, other)) == 3
    assert len(grouped(phone(1), Fault(file="items", line=1, column="to_contact.phone", rule=PHONE))) == 2
    assert len(grouped(phone(1), Fault(file="f", line=1, column="from_contact.phone", rule=PHONE))) == 2
    assert len(grouped(phone(1), Fault(file="f", line=1, column="to_contact.phone", rule="is required"))) == 2


def test_the_items_of_a_list_are_one_column() -> None:
    """``items[0].weight`` and ``items[7].weight`` are one thing to mend."""
    faults = [Fault(file="f", line=n, column=f"items[{n}].weight", rule="is a number") for n in range(3)]
    assert grouped(*faults) == ["f: items[…].weight (3 faults): is a number. Line 0; also lines 1, 2"]


def test_a_million_faults_take_no_memory() -> None:
    """However many faults there are, and of however many kinds, groups and kept faults stay few."""
    report = SourceReport(kept=10)
    tracemalloc.start()
    for n in range(20_000):
        report.add(Fault(file="f", line=n, column=f"c{n}", value="v" * 100, rule="r"))
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert taken < 1_000_000
    assert len(report.groups) == MOST_GROUPS + 1
    largest = str(next(iter(report.groups)))
    assert largest.startswith(
        f"f: {20_000 - MOST_GROUPS:,} faults for other reasons, first: f:{MOST_GROUPS}: c{MOST_GROUPS}: "
    )


def test_every_fault_is_reported_with_its_row() -> None:
    """A listener gets each fault when it is detected, and no warning."""
    messages: list[tuple[Fault, Original | None]] = []
    report = SourceReport(kept=0, on_fault=lambda fault, original: messages.append((fault, original)))
    row = Original(["a", "b"], ("x", "y"))
    report.add(phone(1), row)
    report.add(phone(2))
    report.add(Fault(file="f", rule="w", severity=Severity.WARNING), row)
    assert messages == [(phone(1), row), (phone(2), None)]
