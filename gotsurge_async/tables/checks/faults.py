"""The faults of a file, each with its place, and grouped: a thousand rows with one mistake are one thing to mend."""

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import attrs
from msgspec import Struct, structs

from gotsurge_async.models.rules import Severity
from gotsurge_async.models.words import printable
from gotsurge_async.starting import pattern
from gotsurge_async.tables.checks.words import number_of, verb

_LONGEST = 200


def _shortened(text: str | None) -> str | None:
    """At most 200 characters of a text, so that a thousand faults fit into memory."""
    return text if text is None else str(text) if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


class Fault(Struct, frozen=True, kw_only=True):
    """One fault, or probable mistake, at one place of a file.

    Its ``str()`` is for a person: ``orders.csv:17: price: "1,50": write an amount as a decimal number, such
    as 48.50``.

    Attributes:
        file: the file's name.
        line: the physical line of the file on which the record starts, from 1; None for the whole file.
        column: the column's own name, or the path inside a JSON record; None for the whole record.
        field: the dotted name of the field that has the value; None if it has none.
        value: the start of the value as the file has it; None if there is none to show.
        rule: the rule that is broken, and what would be right.
        severity: a fault refuses the file, a warning does not.
        proposal: the value that was certainly meant, if there is one.
        place: the place of the cell in its row, from 0; None if the fault is not of one cell.
    """

    file: str
    line: int | None = None
    column: str | None = None
    field: str | None = None
    value: str | None = None
    rule: str
    severity: Severity = Severity.FAULT
    proposal: str | None = None
    place: int | None = None

    def __post_init__(self) -> None:
        for name in ("column", "field", "value"):
            structs.force_setattr(self, name, _shortened(getattr(self, name)))

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        shown = None if self.value is None else quoted(self.value)
        parts = (where, self.column, shown, self.rule + self.hint("; "))
        return printable(": ".join(part for part in parts if part is not None))

    def hint(self, before: str) -> str:
        """The end of a sentence with the proposed value, after ``before``; "" without one."""
        return "" if self.proposal is None else f"{before}did you mean {quoted(self.proposal)}?"


def quoted(value: str, most: int = 60) -> str:
    """The beginning of a value for people: on one line, with control characters escaped."""
    return json.dumps(value if len(value) <= most else f"{value[: most - 3]}...", ensure_ascii=False)


# --- the same thing wrong in many rows -------------------------------------------------------------------------------

_OF_ONE_VALUE = pattern(r'"[^"]*"|(?<![A-Za-z0-9_])[+-]?\d[\w.,:+-]*')
"""The parts of a rule that differ from value to value: quoted text, numbers, times."""
_INDEX = pattern(r"\[\d+\]")
_LINES = 5
MOST_GROUPS = 500
"""The most groups; other faults form one more group, because a column of a JSON record may have any name."""


@functools.lru_cache(maxsize=4096)
def _common(rule: str) -> str:
    """A rule without the parts that differ from value to value."""
    return _OF_ONE_VALUE.sub("…", rule)


class FaultGroup(Struct):
    """The faults that break one rule in one column.

    Attributes:
        count: the number of faults; ``proposals`` is the number of those that propose a value.
        lines: the first lines that have such a fault.
        various: whether it is the group of all faults beyond `MOST_GROUPS`.
    """

    first: Fault
    count: int = 0
    proposals: int = 0
    lines: list[int] = []
    various: bool = False

    def __str__(self) -> str:
        first = self.first
        if self.count == 1:
            return str(first)
        if self.various:
            return f"{first.file}: {self.count:,} faults for other reasons, first: {first}"
        where = f"{first.file}: {_INDEX.sub('[…]', first.column)}" if first.column else first.file
        example = ""
        if first.line is not None:
            value = "" if first.value is None else f": {quoted(first.value)}"
            end = "" if first.rule.endswith(("?", ".")) else "."
            example = f"{end} Line {first.line}{value}{first.hint('; ')}"
        rest = [str(line) for line in self.lines[1:]]
        if rest and len(self.lines) < self.count:
            rest.append("…")
        then = " Also" if example.endswith("?") else "; also"
        also = f"{then} {verb(len(rest), 'line', 'lines')} {', '.join(rest)}" if rest else ""
        return f"{where} ({self.count:,} faults): {first.rule}{example}{also}"


class FaultGroups:
    """Counts faults by file, column and rule; memory stays flat however many there are."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, str], FaultGroup] = {}

    def add(self, fault: Fault) -> None:
        """Count a fault."""
        key = fault.file, _INDEX.sub("", fault.column or ""), _common(fault.rule)
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= MOST_GROUPS:
                key = "", "", ""
            group = self._groups.setdefault(key, FaultGroup(fault, various=key == ("", "", "")))
        group.count += 1
        group.proposals += fault.proposal is not None
        if len(group.lines) < _LINES and fault.line is not None and fault.line not in group.lines:
            group.lines.append(fault.line)

    def __iter__(self) -> Iterator[FaultGroup]:
        """The groups, the largest first."""
        return iter(sorted(self._groups.values(), key=lambda group: -group.count))

    def __len__(self) -> int:
        return len(self._groups)


# --- the report ------------------------------------------------------------------------------------------------------


class Original(NamedTuple):
    """The row of a fault as it was read: the cells of a table, with the names of their columns; or a line.

    ``partial``: it has a fault that its cells do not show, such as a wrong number of cells.
    """

    row: Sequence[str] | bytes
    names: Sequence[str] = ()
    partial: bool = False


Listener = Callable[[Fault, Original | None], None]
"""Called with each fault when it is detected, and with its row if it has one."""


@attrs.define
class SourceReport:
    """The faults and warnings of a file. All are counted, and the first ``kept`` of each kind are stored.

    So memory stays flat even if every line of the file is wrong.

    Attributes:
        on_fault: called with each fault, and with its row.
        whole: whether a fault is of the whole file, such as of its header, its quotes or its encoding, and not of a
            row that could be left out.
    """

    kept: int = 1_000
    on_fault: Listener | None = attrs.field(default=None, eq=False)
    whole: bool = attrs.field(default=False, init=False)
    faults: list[Fault] = attrs.field(factory=list, init=False)
    warnings: list[Fault] = attrs.field(factory=list, init=False)
    fault_count: int = attrs.field(default=0, init=False)
    warning_count: int = attrs.field(default=0, init=False)
    _grouped: dict[Severity, FaultGroups] = attrs.field(factory=dict, init=False, eq=False)

    @property
    def ok(self) -> bool:
        """Whether there is no fault; warnings do not count."""
        return self.fault_count == 0

    @property
    def groups(self) -> FaultGroups:
        """The faults, grouped."""
        return self._grouped.setdefault(Severity.FAULT, FaultGroups())

    @property
    def warning_groups(self) -> FaultGroups:
        """The warnings, grouped."""
        return self._grouped.setdefault(Severity.WARNING, FaultGroups())

    def add(self, fault: Fault, original: Original | None = None) -> None:
        """Add a fault or a warning; ``original`` is its row."""
        if fault.severity is Severity.FAULT:
            self.fault_count += 1
            self.whole = self.whole or original is None
            kept = self.faults
            self.groups.add(fault)
            if self.on_fault is not None:
                self.on_fault(fault, original)
        else:
            self.warning_count += 1
            kept = self.warnings
            self.warning_groups.add(fault)
        if len(kept) < self.kept:
            kept.append(fault)

    def without_faults(self) -> "SourceReport":
        """A report with the same warnings, and without faults."""
        report = SourceReport(self.kept)
        report.warnings, report.warning_count = self.warnings, self.warning_count
        report._grouped[Severity.WARNING] = self.warning_groups
        return report

    def lines(self) -> Iterator[str]:
        """The stored faults, one line of text each, and the number of the others."""
        yield from map(str, self.faults)
        if more := self.fault_count - len(self.faults):
            yield f"… and {number_of(more, 'more fault')}"
