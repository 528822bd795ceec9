"""The fields that the columns of a table contain: proven by names and values together, open, or unknown."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import NamedTuple

import attrs

from gotsurge_async.models.base import OpenEnum
from gotsurge_async.models.tasks import Order
from gotsurge_async.tables.fields import FEEDBACK, columns_of
from gotsurge_async.tables.maps.evidence import allowed_value, brief, contradiction
from gotsurge_async.tables.maps.guessing import WINDOW, Meaning, meanings
from gotsurge_async.tables.maps.ways import time_kind, ways

_START, _END = "start_time_utc", "end_time_utc"


class Column(NamedTuple):
    """A column: its name in the header, its number among equal names, its name in a map, and its stripped cells."""

    header: str
    number: int
    name: str
    cells: list[str]

    @property
    def filled(self) -> list[str]:
        return [cell for cell in self.cells if cell]


@attrs.define
class Proposal:
    """The fields that one column, or several together, can contain."""

    columns: tuple[str, ...]
    fields: tuple[str, ...]
    texts: Sequence[str]
    proven: bool
    why: str = ""
    between: str = " "


class Proposals:
    """The proposals for the columns of a table.

    Attributes:
        names: the names of all columns in a map, in their order.
        proposals: the fields that columns contain, or can contain.
        choose: the columns without a proven field -> their possible fields.
        unknown: the columns without a proposal -> the reason; named: those of them whose names have a meaning.
    """

    def __init__(self, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._columns = _columns_below(names, rows)
        self._own = {column.header for column in self._columns if column.name in columns_of(Order)}
        self._own -= {name for name, count in Counter(names).items() if count > 1}
        self.names: list[str] = [column.name for column in self._columns]
        self.proposals: list[Proposal] = []
        self.choose: dict[str, list[str]] = {}
        self.unknown: dict[str, str] = {}  # a column -> why it has no field
        self.named: set[str] = set()  # unknown columns whose names mean something
        self._incomplete: set[str] = set()  # fields of which a second part is unknown
        self._propose()

    def _propose(self) -> None:
        """Find the fields of all columns."""
        members: dict[tuple[str, ...], list[tuple[Column, str]]] = {}
        times: list[_Time] = []
        for column in self._columns:
            if column.header in self._own:
                self.proposals.append(Proposal((column.name,), (column.name,), column.filled, proven=True))
            elif fits := self._meanings_of(column):
                fields = tuple(dict.fromkeys(meaning.field for meaning in fits))
                if column.filled and all(map(_is_time, fields)):
                    times.append(_time_of(column, fields))
                else:
                    members.setdefault(fields, []).append((column, fits[0].part))
        for fields, group in members.items():
            self._add_group(fields, group)
        _propose_times(self, times)
        self._settle()

    def _meanings_of(self, column: Column) -> list[Meaning]:
        """The meanings of a column's name that its values allow; a column without any is unknown."""
        possible = meanings(column.header)
        if not possible:
            self.unknown[column.name] = _examples(column)
            return []
        free = [meaning for meaning in possible if meaning.field not in self._own]
        whys = {
            meaning: contradiction(meaning.field, column.filled, meaning.part) if column.filled else None
            for meaning in free
        }
        fits = [meaning for meaning, why in whys.items() if why is None]
        if not fits:
            fields = " or ".join(dict.fromkeys(meaning.field for meaning in possible))
            why = next(filter(None, whys.values()), "another column has that name")
            self.reject(column.name, f"the name suggests {fields}, but {why}")
            self._incomplete |= {meaning.field for meaning in possible if meaning.part == "2"}
        return fits

    def reject(self, name: str, why: str) -> None:
        """Propose nothing for a column, although its name has a meaning."""
        self.unknown[name] = why
        self.named.add(name)

    def add(self, columns: Sequence[Column], fields: Sequence[str], why: str = "", between: str = " ") -> None:
        """Propose fields for a column, or for several together; one field that no ``why`` doubts is proven."""
        rows = [*zip(*(column.cells for column in columns), strict=True)]
        if len(columns) == 1:
            texts = columns[0].filled
        elif _is_time(fields[0]):
            texts = [between.join(cells) for cells in rows if all(cells)]
        else:
            texts = [between.join(filter(None, cells)) for cells in rows if any(cells)]
        fields = tuple(dict.fromkeys(end for field in fields for end in _ends(field)))
        if not texts:
            why = "empty in the first rows"
        names = tuple(column.name for column in columns)
        if len(columns) > 1 and (broken := next((field for field in fields if _cannot_read(field, texts)), None)):
            for name in names:
                self.reject(name, f"the name suggests {broken}, but {brief(texts[0])} is not a time")
            return
        self.proposals.append(Proposal(names, fields, texts, len(fields) == 1 and not why, why, between))

    def _add_group(self, fields: tuple[str, ...], group: Sequence[tuple[Column, str]]) -> None:
        """Propose columns with the same meanings: two parts are joined, of other columns a person must choose one."""
        first = [column for column, part in group if part != "2"]
        second = [column for column, part in group if part == "2"]
        if len(first) == len(second):
            for pair in zip(first, second, strict=True):  # blocks with equal headers have a pair each
                self.add(pair, fields, between=", " if "address" in fields[0] else " ")
            return
        for column, part in group:
            why = "only a part of it" if part or self._incomplete.intersection(fields) else ""
            if fields == ("tracking_id",) and len({*column.filled}) < len(column.filled):
                why = f"{brief(Counter(column.filled).most_common(1)[0][0])} stands in several rows; see only_rows_with"
            elif _is_choice(fields[0]) and not any(allowed_value(fields[0], cell) for cell in column.filled):
                why = "none of its values is an allowed one"
            self.add([column], fields, why)

    def _settle(self) -> None:
        """Leave fields of several columns to a choice, and remove proven fields from other columns' choices."""
        counts = Counter(proposal.fields for proposal in self.proposals if len(proposal.fields) == 1 and proposal.texts)
        for proposal in self.proposals:
            if len(proposal.fields) == 1 and counts[proposal.fields] > 1 and proposal.columns != proposal.fields:
                proposal.proven, proposal.why = False, "another column has the same meaning"
        proven = {proposal.fields[0] for proposal in self.proposals if proposal.proven}
        for proposal in [proposal for proposal in self.proposals if not proposal.proven]:
            left = tuple(field for field in proposal.fields if field not in proven)
            if not left:
                self.proposals.remove(proposal)
                for name in proposal.columns:
                    if not any(name in other.columns for other in self.proposals):
                        suggested = " or ".join(proposal.fields)
                        self.reject(name, f"the name suggests {suggested}, but another column has that meaning")
            proposal.fields = left
        self.proposals.sort(key=lambda proposal: self.names.index(proposal.columns[0]))
        self.unknown = {name: self.unknown[name] for name in self.names if name in self.unknown}
        for proposal in self.proposals:
            for name in () if proposal.proven else proposal.columns:
                joined = f" of {' + '.join(proposal.columns)}" if len(proposal.columns) > 1 else ""
                self.choose.setdefault(name, []).extend(f"{field}{joined}" for field in proposal.fields)


class _Time(NamedTuple):
    """A column of times: its possible windows, the end that its name means ("" for none), and its kind."""

    column: Column
    windows: tuple[str, ...]
    end: str
    kind: str | None

    def fields(self, other: "_Time | None" = None) -> list[str]:
        """The fields that it can contain; with ``other``, only those of windows that are possible for both."""
        windows = [window for window in self.windows if other is None or window in other.windows]
        return [f"{window}.{self.end}" if self.end else window for window in windows]


def _time_of(column: Column, fields: Sequence[str]) -> _Time:
    ends = {field.partition(".")[2] for field in fields}
    windows = tuple(dict.fromkeys(field.partition(".")[0] for field in fields))
    return _Time(column, windows, ends.pop() if len(ends) == 1 else "", time_kind(column.filled))


def _propose_times(proposals: Proposals, times: Sequence[_Time]) -> None:
    """Join a time of day with its day; a moment without an end in its name is a start if there is an end."""
    days = [time for time in times if time.kind == "day"]
    totals = Counter(time.column.header for time in times)
    used: set[str] = set()
    for clock in (time for time in times if time.kind == "clock"):
        near = [day for day in days if day.fields(clock) and day.end in (clock.end, "")]
        of_name = [day for day in near if day.windows == clock.windows]
        of_end = [day for day in of_name if day.end == clock.end] or of_name
        if len(of_end) > 1:  # blocks with equal headers have one each
            of_end = [
                day
                for day in of_end
                if day.column.number == clock.column.number
                and totals[day.column.header] == totals[clock.column.header] == len(of_end)
            ]
        if not near:
            proposals.reject(clock.column.name, "a time of day, and no column is its day: [join] puts a day before it")
        for day in of_end if len(of_end) == 1 else near:
            used.add(day.column.name)
            why = "" if len(of_end) == 1 else "the names do not say whether they belong together"
            proposals.add([day.column, clock.column], clock.fields(day), why)
    for day in days:
        if day.column.name not in used:
            proposals.add([day.column], day.fields(), "it has no time of day")
    for moment in (time for time in times if time.kind == "moment"):
        ends = {time.end for time in times if time.windows == moment.windows}
        is_start = not moment.end and ends == {"", _END}
        proposals.add([moment.column], moment._replace(end=_START if is_start else moment.end).fields())


def _columns_below(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Column]:
    """The columns that have a name, and that no push added; columns with equal names are numbered."""
    counts = Counter[str]()
    columns: list[Column] = []
    for place, name in enumerate(names):
        counts[name] += 1
        if name and name not in FEEDBACK:
            cells = [row[place].strip() for row in rows]
            number = counts[name]
            columns.append(Column(name, number, f"{name}#{number}" if number > 1 else name, cells))
    return columns


def _is_choice(field: str) -> bool:
    return not _is_time(field) and issubclass(columns_of(Order)[field].kind, OpenEnum)


def _is_time(field: str) -> bool:
    return field.endswith(WINDOW) or columns_of(Order)[field].kind is datetime


def _ends(field: str) -> list[str]:
    return [f"{field}.{_START}", f"{field}.{_END}"] if field.endswith(WINDOW) else [field]


def _cannot_read(field: str, texts: Sequence[str]) -> bool:
    found = ways(field, texts) if texts else None
    return found is not None and not found.readings


def _examples(column: Column) -> str:
    values = ", ".join(dict.fromkeys(map(brief, islice(column.filled, 3))))
    return f"such as {values}" if values else "empty in the first rows"
