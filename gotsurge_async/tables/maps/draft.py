"""Proposes a map for a table: what its names and its first rows prove; a person chooses the rest."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice

from msgspec import Struct

from gotsurge_async.errors import ConfigError, code_of
from gotsurge_async.models.base import OpenEnum, fields_of
from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money
from gotsurge_async.tables.cells import Exact, parser
from gotsurge_async.tables.columns import order_columns
from gotsurge_async.tables.fields import columns_of, required_of
from gotsurge_async.tables.formats.grid import Grid, Record
from gotsurge_async.tables.maps.column_map import Dialect
from gotsurge_async.tables.maps.evidence import allowed_value, brief
from gotsurge_async.tables.maps.guessing import CURRENCIES, UNITS, meanings, unit_in
from gotsurge_async.tables.maps.proposals import Proposal, Proposals
from gotsurge_async.tables.maps.ways import PLAIN, Ways, marks_of, quoted, reads_all, ways

_ROWS = 500
_ABOVE = 20
_NUMBERS = (int, float, Money)
_CLIENT_TIME = "client_time_utc"
_START, _END = "start_time_utc", "end_time_utc"
_SIGNS: Mapping[str, tuple[str, ...]] = {
    "$": ("SGD", "USD", "HKD", "AUD", "TWD", "CAD", "NZD"),
    "¥": ("CNY", "JPY"),
    "元": ("CNY", "TWD", "HKD"),
}
"""Signs that several currencies share, with these currencies."""


class Draft(Struct, frozen=True):
    """A proposed map.

    Attributes:
        text: the map, as TOML. Lines that a person has to choose from are comments.
        sure: the columns that can be read in only one way.
        choose: the columns that can be read in several ways, or without any proving value -> their readings.
        unknown: the other columns -> why nothing is proposed.
    """

    text: str
    sure: Sequence[str]
    choose: Mapping[str, Sequence[str]]
    unknown: Mapping[str, str]


def draft_map(grid: Grid, dialect: Dialect, timezone: str | None = None) -> Draft:
    """Propose a map for a table, whose times are in ``timezone`` if the user named one.

    Raises ConfigError or BadFile if no row of the table can be read.
    """
    faults: list[tuple[int, str]] = []
    records = list(islice(grid.records(lambda *fault: faults.append(fault)), _ROWS + _ABOVE))
    if not records:
        line, rule = faults[0] if faults else (0, "")
        why = f"line {line}: {rule}" if faults else "there are no rows"
        raise ConfigError(f"no table can be read: {why}", code_of(rule) or "E210")
    place = _header_of(records, dialect.header_row)
    header, below = records[place], records[place + 1 :]
    if header.damaged:
        raise ConfigError("the header cannot be read: name the encoding of the file (--encoding)", "E203")
    rows = [record.cells for record in below if len(record.cells) == len(header.cells) and not record.damaged]
    header_row = header.line if place > 0 or dialect.header_row is not None else None
    return _Drafting([cell.strip() for cell in header.cells], rows).draft(_file_section(grid, header_row, timezone))


def _header_of(records: Sequence[Record], row: int | None) -> int:
    """The place of the header: the user's ``row``, or the record with the most known columns."""
    if row is None:
        known = [sum(bool(meanings(cell.strip())) for cell in record.cells) for record in records[:_ABOVE]]
        return known.index(max(known))
    for place, record in enumerate(records):
        if record.line == row:
            return place
    raise ConfigError(f"line {row} is empty or missing, but --header-row makes it the header", "E210")


def _file_section(grid: Grid, header_row: int | None, timezone: str | None) -> list[str]:
    form = grid.form
    delimiter = form.delimiter if form.format == "csv" and form.delimiter != "," else None
    values = {
        "sheet": form.sheet,
        "header_row": header_row,
        "delimiter": "tab" if delimiter == "\t" else delimiter,
        "encoding": form.encoding if form.encoding != "utf-8" and not form.bom else None,
        "timezone": timezone,
    }
    return [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items() if value is not None]


class _Drafting:
    """The text of one draft."""

    def __init__(self, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._found = found = Proposals(names, rows)
        self._proposals, self._choose = found.proposals, found.choose

    def draft(self, file: Sequence[str]) -> Draft:
        """Draft the map; ``file`` are the lines of its section [file]."""
        text = "\n\n".join("\n".join(lines) for lines in self._sections(file) if lines)
        sure = [name for proposal in self._proposals for name in proposal.columns if name not in self._choose]
        choose = {name: self._choose[name] for name in self._found.names if name in self._choose}
        return Draft(f"{text}\n", [name for name in self._found.names if name in sure], choose, self._found.unknown)

    def _sections(self, file: Sequence[str]) -> Iterator[list[str]]:
        yield [
            "# A proposal: read it, mend it, and try it with gotsurge push FILE --map THIS.toml --dry-run.",
            "# Where several lines are comments, remove the # before the right one, and add what is missing.",
        ]
        if self._found.unknown:
            lines = [
                f"  {'# ' if name in self._found.named else ''}{quoted(name)},  # {why}"
                for name, why in self._found.unknown.items()
            ]
            yield ["# These are not read. Give those that matter a field in [columns].", "ignore = [", *lines, "]"]
        yield _titled("file", file)
        yield _titled("columns", self._column_lines())
        yield _titled("join", self._join_lines())
        yield _titled("constants", self._constants())
        yield _titled("dates", self._rules("dates", lambda field: _kind(field) is datetime))
        yield _titled("numbers", self._numbers())
        yield _titled("phones", self._rules("phone numbers", lambda field: field.endswith(".phone")))
        quotes = [field for field, texts in self._texts().items() if any(text.startswith("'") for text in texts)]
        yield _titled("clean", (f'{quoted(field)} = ["unquote"]' for field in quotes))
        yield from self._values()

    def _column_lines(self) -> Iterator[str]:
        for proposal in self._proposals:
            if len(proposal.columns) == 1:
                lines = {field: f"{quoted(proposal.columns[0])} = {quoted(field)}" for field in proposal.fields}
                if proposal.columns != proposal.fields:
                    yield from _chosen(proposal, lines)

    def _join_lines(self) -> Iterator[str]:
        for proposal in self._proposals:
            if len(proposal.columns) > 1:
                value = f"{{ columns = {quoted(proposal.columns)}, with = {quoted(proposal.between)} }}"
                yield from _chosen(proposal, {field: f"{quoted(field)} = {value}" for field in proposal.fields})

    def _texts(self) -> dict[str, list[str]]:
        """The texts of each field with a proposed column, without those of cells with a type."""
        texts: dict[str, list[str]] = {}
        for proposal in self._proposals:
            for field in proposal.fields:
                texts.setdefault(field, []).extend(text for text in proposal.texts if type(text) is not Exact)
        return texts

    def _constants(self) -> Iterator[str]:
        fields = {field for proposal in self._proposals for field in proposal.fields}
        present = {field.partition(".")[0] for field in fields} | fields
        if _CLIENT_TIME not in present:
            yield f'{_CLIENT_TIME} = "now"  # when it is pushed'
        yield from self._currency() if "currency" not in present else ()
        for unit, field in (("total_weight_unit", "total_item_weight"), ("total_volume_unit", "total_item_volume")):
            kind = field.rpartition("_")[2]
            codes = {UNITS[kind].get(mark.casefold(), mark) for mark in self._marks(field)}
            if unit not in present and len(codes) == 1 and codes < {*UNITS[kind].values()}:
                yield f"{unit} = {quoted(codes.pop())}"
        for needed in fields_of(Order):
            if not needed.required or needed.name in present or needed.name == _CLIENT_TIME:
                continue
            if issubclass(needed.inner, OpenEnum):
                values = [str(value) for value in needed.inner]
                yield f'# {needed.name} = "{values[0]}"  # is required: one of {", ".join(values)}'
            else:
                need = next(iter(required_of(needed.inner)), "street_address")
                yield f"# {needed.name}.{need} = …  # is required: no column was found for it"
        for window in sorted({field.partition(".")[0] for field in fields if "_window." in field}):
            for end in sorted({f"{window}.{_START}", f"{window}.{_END}"} - fields):
                yield f"# {end} is required: in [join] a column can give it, too; see minutes_later"
        if "tracking_id" not in present:
            yield "# no column was found that tells one order from another: give one the field tracking_id"

    def _marks(self, field: str) -> set[str]:
        """The text around the numbers of a field, or in the names of its columns: "" if there is none."""
        marks: set[str] = set()
        for proposal in self._proposals:
            if field in proposal.fields:
                unit = next(filter(None, map(unit_in, proposal.columns)), "")
                around = {"" if type(text) is Exact else "".join(marks_of(text)) for text in proposal.texts}
                marks |= {unit} if around <= {""} and unit else around | ({unit} if unit else set())
        return marks

    def _currency(self) -> Iterator[str]:
        """The lines for the currency of the amounts: certain if every amount names it."""
        money = [field for field in self._texts() if _kind(field) is Money]
        if not money:
            return
        marks = {mark for field in money for mark in self._marks(field)}
        codes = {code for mark in marks for code in _SIGNS.get(mark, (CURRENCIES.get(mark.upper(), ""),))}
        if len(codes) == 1 and "" not in codes:
            yield f'currency = "{codes.pop()}"'
            return
        codes = codes - {""} or {"SGD", "USD"}
        lines = [f'currency = "{code}"' for code in dict.fromkeys(CURRENCIES.values()) if code in codes]
        for field in money:
            self._leave_to_choose(field, lines)
        yield "# In which currency are the amounts? Remove the # before the right one."
        yield from (f"# {line}" for line in lines)

    # --- how values are written ---

    def _ways_of(self, field: str) -> Ways | None:
        """The ways in which all texts of a field can be read, whichever of its columns is chosen."""
        found: list[Ways] = []
        for proposal in self._proposals:
            if field in proposal.fields and proposal.texts:
                parse = parser(_kind(field), None) if proposal.columns == (field,) else None
                if parse is None or _kind(field) is datetime or not reads_all(parse, proposal.texts):
                    found += filter(None, [ways(field, proposal.texts)])
        if not found:
            return None
        rules = {rule for way in found for rule in way.readings}
        if _kind(field) not in _NUMBERS:  # rules of times and phone numbers read what needs no rule, too
            rules.discard(None)
        certain = all(way.certain for way in found) and len(rules) <= 1
        readings = {
            rule: f"reads {brief(way.sample)} as {read}" if read else ""
            for way in found
            for rule, read in way.readings.items()
        }
        return Ways(readings, found[0].sample, certain)

    def _rules(self, title: str, applies: Callable[[str], bool]) -> Iterator[str]:
        """The rules of the fields: the certain one, or all possible ones as comments."""
        for field in filter(applies, dict.fromkeys(field for each in self._proposals for field in each.fields)):
            way = self._ways_of(field)
            if way is None:
                continue
            rules = {rule: reading for rule, reading in way.readings.items() if rule is not None}
            if way.certain:
                yield from (f"{quoted(field)} = {rule}" for rule in rules)
                continue
            self._leave_to_choose(
                field, [f"the form {rule}{reading and f' ({reading})'}" for rule, reading in rules.items()]
            )
            if not rules:
                yield f"# {quoted(field)} = …  # it is not certain how {brief(way.sample)} is read"
            elif len(rules) == 1:
                yield "# Remove the # if this is the right reading."
            else:
                yield f"# These {title} can be read in {len(rules)} ways. Remove the # before the right one."
            yield from (f"# {quoted(field)} = {rule}  # {reading}" for rule, reading in rules.items())

    def _numbers(self) -> Iterator[str]:
        """The rules of numbers. If plain digits are one of several ways, no number is read without a rule."""
        fields = [field for field, texts in self._texts().items() if _kind(field) in _NUMBERS and texts]
        found = {field: way for field in fields if (way := self._ways_of(field))}
        if any(not way.certain and {PLAIN, None} & way.readings.keys() for way in found.values()):
            yield '"*" = "1234"  # no other sign in a number is read without a rule of its field'
            plain = [field for field in fields if field not in found or found[field].readings.keys() == {None}]
            yield from (f"{quoted(field)} = {PLAIN}" for field in plain)
        yield from self._rules("numbers", found.__contains__)

    def _leave_to_choose(self, field: str, readings: Sequence[str]) -> None:
        for proposal in self._proposals:
            for name in proposal.columns if field in proposal.fields else ():
                chosen = self._choose.setdefault(name, [])
                chosen += [reading for reading in readings if reading not in chosen]

    def _values(self) -> Iterator[list[str]]:
        for field, texts in self._texts().items():
            kind = _kind(field)
            if not issubclass(kind, OpenEnum):
                continue
            known = [str(value) for value in kind]
            lines = []
            for text in islice((text for text in dict.fromkeys(texts) if text not in known), _ABOVE):
                if value := allowed_value(field, text):
                    lines.append(f"{quoted(text)} = {quoted(value)}")
                else:
                    self._leave_to_choose(field, [f"what {quoted(text)} means"])
                    lines.append(f"# {quoted(text)} = …  # one of {', '.join(known)}")
            comment = "# " if all(line.startswith("#") for line in lines) else ""
            yield [f"{comment}[values.{quoted(field)}]", *lines] if lines else []


def _kind(field: str) -> type:
    return columns_of(Order)[field].kind


def _chosen(proposal: Proposal, lines: Mapping[str, str]) -> Iterator[str]:
    """The line of a proposal; as a comment, with its reading of a sample, for each field that has to be chosen."""
    if proposal.proven:
        yield from lines.values()
        return
    about = {column.name: column for column in order_columns()}
    sample = f"{brief(proposal.texts[0])}: " if proposal.texts else ""
    doubt = f" ({proposal.why})" if proposal.why else ""
    what = "Remove the # if this is right" if len(lines) == 1 else "Remove the # before the right one"
    yield f"# {what}{doubt}."
    for field, line in lines.items():
        meaning = about[field].meaning.partition(";")[0].rstrip(".")
        yield f"# {line}  # {sample}{about[field].section}, {meaning[0].lower()}{meaning[1:]}"


def _titled(title: str, lines: Iterable[str]) -> list[str]:
    """A section of the map; nothing if it has no lines."""
    section = [f"[{title}]", *lines]
    return section if len(section) > 1 else []
