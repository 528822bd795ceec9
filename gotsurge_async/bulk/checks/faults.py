"""What is wrong in a file, each at its place, and grouped: a thousand rows with one mistake are one thing to mend."""

import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import attrs

from gotsurge_async.bulk.checks.words import number_of
from gotsurge_async.models.rules import Severity

_LONGEST = 200


def shortened(text: str | None) -> str | None:
    """What is kept of a text: a thousand faults with a megabyte each would not fit."""
    return text if text is None else str(text) if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that is wrong, or looks wrong, at one place of a file.

    ``str()`` of it is for a person: ``orders.csv:17: price: "1,50": money is a decimal such as 48.50``.

    Attributes:
        file: the file's name as it was given.
        line: the physical line of the file on which the record starts, from 1; None for the file as a whole.
        column: the column's own name, or the path inside a JSON record; None for the record as a whole.
        field: the dotted name of the field that the value was read for; None where it is for none.
        value: the value as it stands in the file, as text, its start if it is long; None where there is none to show.
        rule: what is wrong, and what would be right.
        severity: a fault refuses the file, a warning does not.
        proposal: what the value was certainly meant to be, if that is plain.
        place: the place of the cell in its row, from 0; None where the fault is not of one cell.
    """

    file: str
    line: int | None = None
    column: str | None = attrs.field(default=None, converter=shortened)
    field: str | None = attrs.field(default=None, converter=shortened)
    value: str | None = attrs.field(default=None, converter=shortened)
    rule: str
    severity: Severity = Severity.FAULT
    proposal: str | None = None
    place: int | None = None

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        shown = None if self.value is None else quoted(self.value)
        return ": ".join(part for part in (where, self.column, shown, self.rule + self.hint("; ")) if part is not None)

    def hint(self, before: str) -> str:
        """The end of a sentence that proposes the value that was meant; "" where there is none to propose."""
        return "" if self.proposal is None else f"{before}did you mean {quoted(self.proposal)}?"


def quoted(value: str, most: int = 60) -> str:
    """A value for people: on one line, without what a terminal would obey, and only its start if it is long."""
    return json.dumps(value if len(value) <= most else f"{value[: most - 3]}...", ensure_ascii=False)


# --- the same thing wrong in many rows -------------------------------------------------------------------------------

_OF_ONE_VALUE = re.compile(r'"[^"]*"|(?<![A-Za-z0-9_])[+-]?\d[\w.,:+-]*')
"""What a rule says of one value alone: what it quotes, numbers, times."""
_INDEX = re.compile(r"\[\d+\]")
_LINES = 5
MOST_GROUPS = 500
"""Different things that are told apart; the rest is one group: a column of a JSON record may have any name."""


@functools.lru_cache(maxsize=4096)
def _common(rule: str) -> str:
    """A rule without what differs from one value to the next."""
    return _OF_ONE_VALUE.sub("…", rule)


@attrs.define
class FaultGroup:
    """The faults that break one rule in one column.

    Attributes:
        first: the first of them.
        count: how many there are; ``proposals`` says how many of them propose a value.
        lines: the first lines in which they are.
        various: whether they are of many kinds, which were not told apart any more.
    """

    first: Fault
    count: int = 0
    proposals: int = 0
    lines: list[int] = attrs.field(factory=list)
    various: bool = False

    def __str__(self) -> str:
        first = self.first
        if self.count == 1:
            return str(first)
        if self.various:
            return f"{first.file}: {self.count:,} × for other reasons, first: {first}"
        where = f"{first.file}: {_INDEX.sub('[…]', first.column)}: " if first.column else f"{first.file}: "
        seen = ""
        if first.line is not None:
            value = "" if first.value is None else f": {quoted(first.value)}"
            seen = f", first in line {first.line}{value}{first.hint(', ')}"
        rest = [str(line) for line in self.lines[1:]]
        if rest and len(self.lines) < self.count:
            rest.append("…")
        also = f" (then {', '.join(rest)})" if rest else ""
        return f"{where}{self.count:,} × {first.rule}{seen}{also}"


class FaultGroups:
    """Counts faults by file, column and rule; memory stays flat however many there are."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, str], FaultGroup] = {}

    def add(self, fault: Fault) -> None:
        """Count one."""
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
    """The row in which a fault is, as it was read: the cells of a table, with the names of their columns; or a line.

    Attributes:
        partial: whether something is wrong with the row that its cells do not show, such as how many there were.
    """

    row: Sequence[str] | bytes
    names: Sequence[str] = ()
    partial: bool = False


Told = Callable[[Fault, Original | None], None]
"""Told each fault as it is found, with its row where there is one."""


@attrs.define
class SourceReport:
    """All faults and warnings of a file: every one is counted, the first ``kept`` of each kind are kept.

    So memory stays flat also for a file in which every line is wrong.

    Attributes:
        told: is told every fault as it is found.
        whole: whether some fault is not of one row, which could be left out, but of the file: its header, its quotes,
            its encoding.
    """

    kept: int = 1_000
    told: Told | None = attrs.field(default=None, eq=False)
    whole: bool = attrs.field(default=False, init=False)
    faults: list[Fault] = attrs.field(factory=list, init=False)
    warnings: list[Fault] = attrs.field(factory=list, init=False)
    fault_count: int = attrs.field(default=0, init=False)
    warning_count: int = attrs.field(default=0, init=False)
    _grouped: dict[Severity, FaultGroups] = attrs.field(factory=dict, init=False, eq=False)

    @property
    def ok(self) -> bool:
        """Whether no fault was found; warnings do not count."""
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
        """Take one fault or warning in; ``original`` is its row."""
        if fault.severity is Severity.FAULT:
            self.fault_count += 1
            self.whole = self.whole or original is None
            kept = self.faults
            self.groups.add(fault)
            if self.told is not None:
                self.told(fault, original)
        else:
            self.warning_count += 1
            kept = self.warnings
            self.warning_groups.add(fault)
        if len(kept) < self.kept:
            kept.append(fault)

    def without_faults(self) -> "SourceReport":
        """The same warnings, and no fault."""
        report = SourceReport(self.kept)
        report.warnings, report.warning_count = self.warnings, self.warning_count
        report._grouped[Severity.WARNING] = self.warning_groups
        return report

    def lines(self) -> Iterator[str]:
        """The faults, one line of text each, and how many more there were."""
        yield from _lines(self.faults, self.fault_count, "fault")

    def warning_lines(self) -> Iterator[str]:
        """The same of the warnings."""
        yield from _lines(self.warnings, self.warning_count, "warning")


def _lines(kept: list[Fault], count: int, what: str) -> Iterator[str]:
    yield from map(str, kept)
    if count > len(kept):
        yield f"… and {number_of(count - len(kept), f'more {what}')}"
