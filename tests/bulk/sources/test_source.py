"""What is wrong in a file, for people, and in flat memory."""

from gotsurge_async.bulk.checks.rules import Severity
from gotsurge_async.bulk.sources import Fault, SourceReport


def test_a_fault_is_one_line_of_text() -> None:
    """File, line, column, value and rule; what is not there leaves no trace."""
    fault = Fault(file="orders.csv", line=17, column="price", value="1,50", rule="money is a decimal such as 48.50")
    assert str(fault) == 'orders.csv:17: price: "1,50": money is a decimal such as 48.50'
    assert str(Fault(file="orders.csv", line=1, rule="the file is empty")) == "orders.csv:1: the file is empty"
    assert str(Fault(file="orders.csv", rule="is no file")) == "orders.csv: is no file"


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
    assert list(report.warning_lines()) == ["f:1: w"]
    for line in range(1, 6):
        report.add(Fault(file="f", line=line, rule="r"))
    assert not report.ok
    assert (report.fault_count, report.warning_count) == (5, 1)
    assert list(report.lines()) == ["f:1: r", "f:2: r", "… and 3 more faults"]
