"""Orders in JSON Lines: one line, one order in the API's own form, its price in thousandths of a cent."""

import copy
import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, BinaryIO

import msgspec
from msgspec import structs

from gotsurge_async import codec
from gotsurge_async.errors import Coded, InvalidData, Problem, code_of
from gotsurge_async.models.base import fields_of, is_model
from gotsurge_async.models.rules import Severity
from gotsurge_async.models.tasks import Order
from gotsurge_async.tables.cells import Misread, encode, shortened_by_spreadsheet, time_parser
from gotsurge_async.tables.checks.faults import Fault, Original, SourceReport
from gotsurge_async.tables.fields import FEEDBACK, candidate_of, columns_of, did_you_mean
from gotsurge_async.tables.formats.lines import TOO_LONG, BadFile, Digested, Form, Text, not_in
from gotsurge_async.tables.options import SourceOptions
from gotsurge_async.tables.source import (
    IN_DOUBT,
    INVOICE,
    MAY_EXIST,
    SHORTENED,
    Source,
    SourceRow,
    check_key,
    fingerprint_of,
)

_Tree = dict[str, Any]
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


class JsonlSource(Source):
    """Reads a file of JSON objects, one a line; blank lines are skipped."""

    def __init__(self, name: str, stream: BinaryIO, options: SourceOptions, report: SourceReport) -> None:
        super().__init__(name, options, report)
        self._stream = Digested(stream)
        self._encoding = options.encoding
        self.form = Form(format="jsonl")
        self._parse_time = time_parser(options.zone())
        self._times = [column for column in columns_of(Order).values() if column.kind is datetime]
        self._candidate_of_order = candidate_of(Order)
        self._raw = b""
        self._bad: set[str] = set()
        self._key: str | None = None  # of the current line, if it can be read

    def rows(self) -> Iterator[SourceRow]:
        """Yield the rows, see `Source.rows`."""
        try:
            yield from self._rows()
        except BadFile as error:
            self.report.add(Fault(file=self.name, rule=Coded(error)))

    def _rows(self) -> Iterator[SourceRow]:
        text = Text(self._stream, self._encoding)
        self.form: Form = structs.replace(text.form, format="jsonl")
        any_line = False
        if refusal := text.refusal():
            self.line: int = 1
            self._wrong("", refusal)
            return
        for number, raw in enumerate(text.lines(), start=1):
            self.line, self._bad, self._key = number, set(), None
            self._raw = b""
            if raw is None:
                self._wrong("", TOO_LONG)
                continue
            self._raw = raw.strip()
            if not self._raw:
                continue
            any_line = True
            try:
                row = self._row()
            except RecursionError:
                self._wrong("", Coded("is nested too deeply", "E216"))
                continue
            if row is not None:
                yield row
            elif self.faulty is not None and self._key is not None:
                self.faulty(self.line, self._key)
        self.sha256: str | None = self._stream.digest.hexdigest()
        if not any_line and self.report.ok:
            self.line = 1
            self._wrong("", Coded("the file is empty: each line must be an order, as a JSON object", "E216"))

    def _row(self) -> SourceRow | None:
        """The row of the current line; None if it has faults, which are reported."""
        tree = self._parsed()
        if tree is None:
            return None
        original = self._without_feedback(tree)
        self._key = key = self._read_key(tree)
        self._read_times(tree)
        order = self._candidate(tree)
        if order is None:
            return None
        missing, findings = self._check(order)
        if order.invoice_number and self.key_path != INVOICE and shortened_by_spreadsheet(order.invoice_number):
            self._wrong(INVOICE, Coded(SHORTENED, "E607"))
        for name in missing:
            self._wrong(name, Coded("is required but missing", "E211"))
        for finding in findings:
            self._wrong(finding.path, finding.message, finding.severity, finding.proposal)
        if key is None or self._bad:
            return None
        try:
            return SourceRow(self.line, key, encode(order), original, fingerprint_of(order))
        except (InvalidData, ValueError, OverflowError) as error:
            rule = str(error) if isinstance(error, InvalidData) else f"cannot be written as JSON ({error})"
            self._wrong("", Coded(rule, code_of(error) or "E237"))
            return None

    def _parsed(self) -> _Tree | None:
        try:
            tree = msgspec.json.decode(self._raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._wrong("", self._not_json(error))
            return None
        if not isinstance(tree, dict):
            self._wrong("", Coded("is not an order: each line must be one JSON object, {…}", "E216"))
            return None
        if (name := _repeated_in(self._raw)) is not None:
            self._wrong("", Coded(f'contains the field "{name}" twice in one object: keep one of them', "E216"))
            return None
        # A field that is null is a field that is not there.
        return {name: value for name, value in tree.items() if value is not None}

    def _not_json(self, error: Exception) -> str:
        try:
            self._raw.decode()
        except UnicodeDecodeError:
            self.report.whole = True
            return not_in(self.form.encoding)
        if self.line == 1 and not self._raw.startswith((b"{", b"[")):
            return Coded("is not JSON; if this file is a CSV, pass --format csv", "E202")
        return Coded(f"is not one JSON object on one line: {error}", "E216")

    def _without_feedback(self, tree: _Tree) -> bytes:
        """The line as the user wrote it, without an earlier push's additions; an order in doubt is reported."""
        if tree.keys().isdisjoint(FEEDBACK):
            return self._raw
        if tree.get("gs_status") == IN_DOUBT:
            self._wrong("gs_status", Coded(MAY_EXIST, "E606"))
        for name in FEEDBACK:
            tree.pop(name, None)
        return encode(tree)

    def _read_key(self, tree: _Tree) -> str | None:
        path = self.key_path
        key = _value_at(tree, path)
        if path not in columns_of(Order):
            tree.pop(path, None)
        if not isinstance(key, str) or not key.strip():
            rule = "must be text, and not empty, because it is the order's key: give each order its own key"
            self._wrong(path, Coded(rule, "E229"))
            return None
        try:
            if key != key.strip():
                raise Misread("starts or ends with white space", "E229")
            check_key(key)
        except ValueError as error:
            self._wrong(path, Coded(error))
        return key

    def _read_times(self, tree: _Tree) -> None:
        """Read the times in advance, because the decoder does not know the zone of the file."""
        for name, parent, field, *_ in self._times:
            holder = tree.get(parent) if parent else tree
            if isinstance(holder, dict) and isinstance(text := holder.get(field), str):
                try:
                    holder[field] = self._parse_time(text)
                except ValueError as error:
                    self._wrong(name, Coded(error))
                    del holder[field]

    def _candidate(self, tree: _Tree) -> Any:
        """The order without its faulty fields, which are reported; None if no field can be read."""
        try:
            return msgspec.convert(tree, self._candidate_of_order)
        except msgspec.ValidationError:
            rest = copy.deepcopy(tree)
        for path, known in _take_unknown(rest, Order):
            hint = did_you_mean(path.rpartition(".")[2], known)
            self._wrong(path, Coded(f"there is no such field{hint}", "E212"))
        while True:
            try:
                return msgspec.convert(rest, self._candidate_of_order)
            except msgspec.ValidationError as error:
                problems = _problems(rest) or (Problem("", str(error)),)
            for problem in problems:
                self._wrong(problem.path, problem.message)
            broken = {re.split(r"[.\[]", problem.path, maxsplit=1)[0] for problem in problems}
            if broken.isdisjoint(rest):
                return None
            rest = {name: value for name, value in rest.items() if name not in broken}

    def _wrong(self, path: str, rule: str, severity: Severity = Severity.FAULT, proposal: str | None = None) -> None:
        """Report a fault of a field of the current line, unless one of that field was reported before."""
        if path and (path in self._bad or any(bad.startswith(f"{path}.") for bad in self._bad)):
            return
        if severity is Severity.FAULT:
            self._bad.add(path)
        place = path or None
        value = self._shown(path) if path else None
        fault = Fault(file=self.name, line=self.line, column=place, field=place, value=value, rule=rule,
                      severity=severity, proposal=proposal)  # fmt: skip
        self.report.add(fault, Original(self._raw) if self._raw else None)

    def _shown(self, path: str) -> str | None:
        """The value in the line, which is read again: this happens only for faults."""
        value = _value_at(msgspec.json.decode(self._raw), path)
        if value is None or isinstance(value, str):
            return value
        return encode(value).decode()


def _problems(tree: _Tree) -> tuple[Problem, ...]:
    """The faults of an order, as the codec reports them."""
    try:
        codec.structure(tree, Order)
    except InvalidData as error:
        return error.problems
    return ()


def _repeated_in(line: bytes) -> str | None:
    """The name of a field that an object in a line contains twice, of which only the last would be read."""
    repeated: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in pairs}) < len(pairs):
            names = [name for name, _ in pairs]
            repeated.append(next(name for name in names if names.count(name) > 1))

    json.loads(line, object_pairs_hook=note, parse_int=len, strict=False)  # no number is too long for `len`
    return repeated[0] if repeated else None


def _value_at(tree: Any, path: str) -> Any:
    for name, index in _STEP.findall(path):
        if name and isinstance(tree, dict):
            tree = tree.get(name)
        elif index and isinstance(tree, list) and int(index) < len(tree):
            tree = tree[int(index)]
        else:
            return None
    return tree


def _take_unknown(tree: Any, cls: type, prefix: str = "") -> Iterator[tuple[str, Iterable[str]]]:
    """Remove fields that the models do not have; yields their paths, each with the known names of its object."""
    if not isinstance(tree, dict):
        return
    known = {field.name: field for field in fields_of(cls)}
    for name in [name for name in tree if name not in known]:
        del tree[name]
        yield f"{prefix}{name}", known
    for name, value in tree.items():
        field = known[name]
        if is_model(field.inner) and not field.many:
            yield from _take_unknown(value, field.inner, f"{prefix}{name}.")
        elif is_model(field.inner) and isinstance(value, list):
            for index, element in enumerate(value):
                yield from _take_unknown(element, field.inner, f"{prefix}{name}[{index}].")
