"""Orders in JSON Lines: one line, one order in the API's own shape, its price in thousandths of a cent."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

import msgspec

from gotsurge_async import codec
from gotsurge_async.bulk.checks.rules import Finding, Severity
from gotsurge_async.bulk.sources.base import (
    IN_DOUBT,
    MAY_EXIST,
    SHORTENED,
    STAND_INS,
    Source,
    SourceRow,
    encode_plain,
    fingerprint_of,
)
from gotsurge_async.bulk.sources.cells import shortened_by_spreadsheet, time_parser
from gotsurge_async.bulk.sources.fields import FEEDBACK, inner_models, known_names, order_columns
from gotsurge_async.bulk.sources.lines import NOT_UTF8, TOO_LONG, not_text, physical_lines
from gotsurge_async.bulk.sources.options import SourceOptions, did_you_mean
from gotsurge_async.bulk.sources.quick_json import json_reader
from gotsurge_async.bulk.sources.report import Fault, SourceReport
from gotsurge_async.errors import InvalidData
from gotsurge_async.models.tasks import Order

_Tree = dict[str, Any]
_STAND_INS = codec.encode({name: codec.unstructure(value) for name, value in STAND_INS.items()})
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


class JsonlSource(Source):
    """Reads a file of JSON objects, one a line; blank lines are skipped."""

    def __init__(
        self, name: str, stream: BinaryIO, options: SourceOptions, report: SourceReport, *, owned: bool = False
    ) -> None:
        super().__init__(name, stream, options, report, owned=owned)
        self._key_path = options.key
        self._allow_unknown = options.allow_unknown
        self._parse_time = time_parser(options.zone())
        self._times = [(column.parent, column.field) for column in order_columns().values() if column.kind is datetime]
        self._quick = json_reader(self._parse_time)
        # The fast way knows a key that is a text of the order itself.
        column = order_columns().get(self._key_path)
        self._quick_key = self._key_path if column and column.parent is None and column.kind is str else None
        self._line = 0
        self._raw = b""
        self._bad: set[str] = set()

    def rows(self) -> Iterator[SourceRow]:
        """The good orders, as they come."""
        any_line = False
        for number, raw in enumerate(physical_lines(self._stream, self._digest), start=1):
            self._line, self._bad = number, set()
            refused = not_text(raw) if raw is not None and number == 1 else None
            if raw is None or refused:
                self._wrong("", refused or TOO_LONG)
                if refused:
                    return
                continue
            self._raw = raw.strip()
            if not self._raw:
                continue
            any_line = True
            try:
                row = self._quick_row() or self._careful_row()
            except RecursionError:
                self._wrong("", "is nested too deep")
                continue
            if row is not None:
                yield row
        self._exhausted = True
        if not any_line and self.report.ok:
            self._line = 1
            self._wrong("", "the file is empty: it has one order a line, as a JSON object")

    def _quick_row(self) -> SourceRow | None:
        """The row in the fast way; None if it is not plainly right."""
        if self._quick_key is None:
            return None
        try:
            order = self._quick(self._raw)
            key = getattr(order, self._quick_key)
            if not key or "\0" in key or key != key.strip() or shortened_by_spreadsheet(key) or self._check(order):
                return None
            return SourceRow(self._line, key, encode_plain(order), self._raw, fingerprint_of(order))
        except (ValueError, TypeError, OverflowError, RecursionError):
            return None

    def _careful_row(self) -> SourceRow | None:
        """The row, or None if something is wrong with it; that is told."""
        tree = self._parsed()
        if tree is None:
            return None
        original = self._without_feedback(tree)
        key = self._key(tree)
        self._tell_unknown(tree)
        self._read_times(tree)
        order = self._order(tree)
        if order is None or key is None or self._bad:
            return None
        try:
            return self._row(self._line, key, order, original)
        except InvalidData as error:
            self._wrong("", str(error))
            return None

    def _parsed(self) -> _Tree | None:
        try:
            tree = msgspec.json.decode(self._raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._wrong("", self._not_json(error))
            return None
        if not isinstance(tree, dict):
            self._wrong("", "is no order: each line is one JSON object, {…}")
            return None
        # null is one more way of not giving a field.
        return {name: value for name, value in tree.items() if value is not None}

    def _not_json(self, error: Exception) -> str:
        try:
            self._raw.decode()
        except UnicodeDecodeError:
            return NOT_UTF8
        if self._line == 1 and not self._raw.startswith((b"{", b"[")):
            return "is not JSON; if this file is a CSV, say --format csv"
        return f"is not one JSON object on one line: {error}"

    def _without_feedback(self, tree: _Tree) -> bytes:
        """The line as the user wrote it, without what an earlier push has added; an order in doubt is refused."""
        if tree.keys().isdisjoint(FEEDBACK):
            return self._raw
        if tree.get("gs_status") == IN_DOUBT:
            self._wrong("gs_status", MAY_EXIST)
        for name in FEEDBACK:
            tree.pop(name, None)
        return codec.encode(tree)

    def _key(self, tree: _Tree) -> str | None:
        path = self._key_path
        key = _value_at(tree, path)
        if path not in order_columns():
            tree.pop(path, None)
        if not isinstance(key, str) or not key.strip():
            self._wrong(path, "is text that tells this order from every other, and must be given")
            return None
        if key != key.strip():
            self._wrong(path, "has white space around it")
        if "\0" in key:
            self._wrong(path, "holds a NUL character, which a ledger cannot keep")
        if shortened_by_spreadsheet(key):
            self._wrong(path, SHORTENED)
        return key

    def _tell_unknown(self, tree: _Tree) -> None:
        if not self._allow_unknown:
            for path, known in _unknown_fields(tree, Order):
                hint = did_you_mean(path.rpartition(".")[2], known)
                self._wrong(path, f"there is no such field{hint}")

    def _read_times(self, tree: _Tree) -> None:
        """Make the times, before the codec does: it would take one without a zone for UTC."""
        for parent, field in self._times:
            holder = tree if parent is None else tree.get(parent)
            text = holder.get(field) if isinstance(holder, dict) else None
            if not isinstance(text, str) or not isinstance(holder, dict):
                continue
            try:
                holder[field] = self._parse_time(text)
            except ValueError as error:
                self._wrong(field if parent is None else f"{parent}.{field}", str(error))
                del holder[field]

    def _order(self, tree: _Tree) -> Order | None:
        """The order, checked; None if it cannot be made, and then what is right of it is checked all the same."""
        try:
            order = codec.structure(dict(tree), Order)
        except InvalidData as error:
            problems = error.problems
        else:
            self._tell(self._check(order))
            return order
        for problem in problems:
            self._wrong(problem.path, problem.message)
        broken = {_top(problem.path) for problem in problems}
        if "" not in broken:
            rest = {name: value for name, value in tree.items() if name not in broken}
            self._tell(self._check_the_rest(self._right_fields(rest)))
        return None

    def _right_fields(self, tree: _Tree) -> dict[str, Any]:
        """The fields of a line that has no wrong ones, but not all that an order needs."""
        order = codec.structure({**msgspec.json.decode(_STAND_INS), **tree}, Order)
        return {name: getattr(order, name) for name in tree.keys() & known_names(Order)}

    def _tell(self, findings: list[Finding]) -> None:
        for finding in findings:
            self._wrong(finding.path, finding.message, finding.severity)

    def _wrong(self, path: str, rule: str, severity: Severity = Severity.FAULT) -> None:
        """Say what is wrong with a field of the current line; of several faults of one field the first is told."""
        if path and (path in self._bad or any(each.startswith(f"{path}.") for each in self._bad)):
            return
        if severity is Severity.FAULT:
            self._bad.add(path)
        value = self._shown(path) if path else None
        self.report.add(
            Fault(file=self.name, line=self._line, column=path or None, value=value, rule=rule, severity=severity)
        )

    def _shown(self, path: str) -> str | None:
        """The value as it stands in the line, read again: this happens only for faults."""
        value = _value_at(msgspec.json.decode(self._raw), path)
        if value is None or isinstance(value, str):
            return value
        return msgspec.json.encode(value).decode()


def _top(path: str) -> str:
    """The field of the order that a path starts with."""
    return re.split(r"[.\[]", path, maxsplit=1)[0]


def _value_at(tree: Any, path: str) -> Any:
    for name, index in _STEP.findall(path):
        if name and isinstance(tree, dict):
            tree = tree.get(name)
        elif index and isinstance(tree, list) and int(index) < len(tree):
            tree = tree[int(index)]
        else:
            return None
    return tree


def _unknown_fields(tree: Any, cls: type, prefix: str = "") -> Iterator[tuple[str, frozenset[str]]]:
    """The paths of fields that the classes do not name, and what they do name there."""
    if not isinstance(tree, dict):
        return
    known = known_names(cls)
    for name in tree:
        if name not in known:
            yield f"{prefix}{name}", known
    for name, inner, many in inner_models(cls):
        value = tree.get(name)
        if value is None:
            continue
        if many and isinstance(value, list):
            for index, each in enumerate(value):
                yield from _unknown_fields(each, inner, f"{prefix}{name}[{index}].")
        elif not many:
            yield from _unknown_fields(value, inner, f"{prefix}{name}.")
