"""What is wrong in a file of orders: where, which value, which rule."""

import json
from collections.abc import Iterator

import attrs

from gotsurge_async.bulk.checks.rules import Severity

_LONGEST = 200


def _kept(text: str | None) -> str | None:
    """What is kept of a text: a thousand faults with a megabyte each would not fit."""
    return text if text is None or len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that is wrong, or looks wrong, at one place of a file.

    ``str()`` of it is for a person: ``orders.csv:17: price: "1,50": money is a decimal such as 48.50``.

    Attributes:
        file: the file's name as it was given.
        line: the physical line of the file on which the record starts, from 1; None for the file as a whole.
        column: the column's own name, or the path inside a JSON record; None for the record as a whole.
        value: the value as it stands in the file, as text, its start if it is long; None where there is none to show.
        rule: what is wrong, and what would be right.
        severity: a fault refuses the file, a warning does not.
    """

    file: str
    line: int | None = None
    column: str | None = attrs.field(default=None, converter=_kept)
    value: str | None = attrs.field(default=None, converter=_kept)
    rule: str
    severity: Severity = Severity.FAULT

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        shown = None if self.value is None else _quoted(self.value)
        return ": ".join(part for part in (where, self.column, shown, self.rule) if part is not None)


def _quoted(value: str, most: int = 60) -> str:
    text = value if len(value) <= most else f"{value[: most - 3]}..."
    return json.dumps(text, ensure_ascii=False)


@attrs.define
class SourceReport:
    """All faults and warnings of a file: every one is counted, the first ``kept`` of each kind are kept.

    So memory stays flat also for a file in which every line is wrong.
    """

    kept: int = 1_000
    faults: list[Fault] = attrs.field(factory=list, init=False)
    warnings: list[Fault] = attrs.field(factory=list, init=False)
    fault_count: int = attrs.field(default=0, init=False)
    warning_count: int = attrs.field(default=0, init=False)

    @property
    def ok(self) -> bool:
        """Whether no fault was found; warnings do not count."""
        return self.fault_count == 0

    def add(self, fault: Fault) -> None:
        """Take one fault or warning in."""
        if fault.severity is Severity.FAULT:
            self.fault_count += 1
            kept = self.faults
        else:
            self.warning_count += 1
            kept = self.warnings
        if len(kept) < self.kept:
            kept.append(fault)

    def lines(self) -> Iterator[str]:
        """The faults, one line of text each, and how many more there were."""
        yield from _lines(self.faults, self.fault_count, "faults")

    def warning_lines(self) -> Iterator[str]:
        """The same of the warnings."""
        yield from _lines(self.warnings, self.warning_count, "warnings")


def _lines(kept: list[Fault], count: int, what: str) -> Iterator[str]:
    yield from map(str, kept)
    if count > len(kept):
        yield f"… and {count - len(kept)} more {what}"
