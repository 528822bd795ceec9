"""A map that is proposed for a table, from its header and its first rows: for a person to read and correct."""

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice, product
from zoneinfo import ZoneInfo

import attrs

from gotsurge_async.errors import ConfigError, code_of
from gotsurge_async.models.base import OpenEnum, fields_of
from gotsurge_async.models.phones import is_international
from gotsurge_async.models.rules import nearest
from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money
from gotsurge_async.tables.cells import Exact, Parse, parser
from gotsurge_async.tables.fields import FEEDBACK, columns_of, required_of
from gotsurge_async.tables.formats.grid import Grid, Record
from gotsurge_async.tables.maps.column_map import Dates, Dialect
from gotsurge_async.tables.maps.guessing import SEVERAL, guess
from gotsurge_async.tables.maps.rules import dates_parser, number_parser, phone_style

_ROWS = 500
_ABOVE = 20
_CURRENCIES = {"S$": "SGD", "US$": "USD", "RM": "MYR", "€": "EUR", "£": "GBP", "HK$": "HKD", "A$": "AUD"}
_PHONE = "+65 61234567"


@attrs.frozen
class Draft:
    """A proposed map.

    Attributes:
        text: the map, as TOML; "not sure" marks what a person should check.
        sure: the columns whose fields are sure; unsure: those to be checked; unknown: the others.
    """

    text: str
    sure: Sequence[str]
    unsure: Sequence[str]
    unknown: Sequence[str]


def draft_map(grid: Grid, dialect: Dialect, timezone: str | None = None) -> Draft:
    """Propose a map.

    Args:
        dialect: the user's options about the file.
        timezone: the zone of its times, if the user named one.

    Raises:
        ConfigError, BadFile: no row of the table can be read.
    """
    faults: list[tuple[int, str]] = []
    records = list(islice(grid.records(lambda *fault: faults.append(fault)), _ROWS + _ABOVE))
    if not records:
        line, rule = faults[0] if faults else (0, "")
        where = f": line {line} {rule}" if faults else ""
        raise ConfigError(f"there is no table to look at{where}", code_of(rule) or "E210")
    place = _header_of(records, dialect.header_row)
    header, below = records[place], records[place + 1 :]
    if header.damaged:
        raise ConfigError("the header cannot be read: say the encoding of the file (--encoding)", "E203")
    rows = [record.cells for record in below if len(record.cells) == len(header.cells) and not record.damaged]
    header_row = header.line if place > 0 or dialect.header_row is not None else None
    return _Drafting([cell.strip() for cell in header.cells], rows).draft(_file_section(grid, header_row, timezone))


def _header_of(records: Sequence[Record], row: int | None) -> int:
    """The place of the header: the user's ``row``, or the record with the most known columns."""
    if row is None:
        known = [sum(guess(cell) is not None for cell in record.cells) for record in records[:_ABOVE]]
        return known.index(max(known))
    for place, record in enumerate(records):
        if record.line == row:
            return place
    raise ConfigError(f"line {row} is empty, or not there, and was said to name the columns (--header-row)", "E210")


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
    """One draft."""

    def __init__(self, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._names = names
        self._cells = {name: [row[place] for row in rows if row[place].strip()] for place, name in enumerate(names)}
        self._fields: dict[str, list[str]] = {}  # a field -> its columns
        self._repeated: dict[str, str] = {}  # a column that occurs twice -> its field
        self._unsure: list[str] = []
        self._unknown: dict[str, str] = {}  # a column -> why it has no field
        for name in dict.fromkeys(names):
            if name and name not in FEEDBACK:
                self._add(name)

    def _add(self, name: str) -> None:
        """Find the field of a column."""
        known = guess(name)
        if known is None or not self._fits(name, known.field):
            self._unknown[name] = self._examples(name)
            return
        if self._names.count(name) > 1:
            self._repeated[name] = known.field
            self._unsure.append(name)
            return
        columns = self._fields.setdefault(known.field, [])
        if columns and not known.field.endswith(SEVERAL):
            self._unknown[name] = f'"{columns[0]}" seems to be {known.field}'
            return
        columns.append(name)
        if not known.sure or (len(columns) > 1 and not known.field.endswith("street_address")):
            self._unsure.append(name)

    def _fits(self, name: str, field: str) -> bool:
        """Whether the values of a column can be those of a field: a number has digits, for example."""
        if not self._is_of(field, int, float, Money, datetime):
            return True
        return all(any(letter.isdigit() for letter in cell) for cell in self._cells[name][:_ABOVE])

    def _is_of(self, field: str, *kinds: type) -> bool:
        return columns_of(Order)[field].kind in kinds

    def draft(self, file: Sequence[str]) -> Draft:
        """The map; ``file`` are the lines of [file]."""
        text = "\n\n".join("\n".join(lines) for lines in self._sections(file) if lines)
        sure = [name for names in self._fields.values() for name in names if name not in self._unsure]
        return Draft(f"{text}\n", sure, self._unsure, list(self._unknown))

    def _sections(self, file: Sequence[str]) -> Iterator[list[str]]:
        dates, numbers = [*self._dates()], [*self._numbers()]  # first, as they make more columns unsure
        yield [
            "# A proposal: read it, mend it, and try it with gotsurge push FILE --map THIS.toml --dry-run.",
            '# What is marked "not sure" was guessed.',
        ]
        if self._unknown:
            lines = [f"  {_quoted(name)},{_doubt(why)}" for name, why in self._unknown.items()]
            yield ["# These are not read. Give those that matter a field in [columns].", "ignore = [", *lines, "]"]
        yield _titled("file", file)
        yield _titled("columns", self._columns())
        yield _titled("join", self._joins())
        yield _titled("constants", self._constants())
        yield _titled("dates", dates)
        yield _titled("numbers", numbers)
        yield _titled("phones", self._phones())
        quoted = [field for field in self._fields if any(cell.startswith("'") for cell in self._texts(field))]
        yield _titled("clean", (f'{_quoted(field)} = ["unquote"]' for field in quoted))
        yield from self._values()

    def _columns(self) -> Iterator[str]:
        for field, (name, *others) in self._fields.items():
            if not others and name != field:
                doubt = _doubt(self._examples(name)) if name in self._unsure else ""
                yield f"{_quoted(name)} = {_quoted(field)}{doubt}"
        for name, field in self._repeated.items():
            first, second, *_ = (place for place, other in enumerate(self._names, start=1) if other == name)
            why = f"stands twice (columns {first} and {second}): say what each is"
            yield f"# {_quoted(name)} = {_quoted(field)}{_doubt(why)}"
            yield f"# {_quoted(f'{name}#2')} = {_quoted(field)}"

    def _joins(self) -> Iterator[str]:
        for field, names in self._fields.items():
            if len(names) > 1:
                between = ", " if field.endswith("street_address") else " "
                doubt = _doubt() if any(name in self._unsure for name in names) else ""
                yield f'{_quoted(field)} = {{ columns = {_quoted(names)}, with = "{between}" }}{doubt}'

    def _examples(self, name: str) -> str:
        values = ", ".join(dict.fromkeys(map(_brief, islice(self._cells[name], 3))))
        return f"such as {values}" if values else "empty in the first rows"

    def _texts(self, field: str) -> list[str]:
        """The cells of a field that are text, and not a number or a date of a workbook."""
        names = self._fields[field]
        if len(names) > 1:
            return [" ".join(cells) for cells in zip(*(self._cells[name] for name in names), strict=False)]
        return [cell.strip() for cell in self._cells[names[0]] if type(cell) is not Exact]

    def _constants(self) -> Iterator[str]:
        present = {field.partition(".")[0] for field in self._fields} | self._fields.keys()
        if "client_time_utc" not in present:
            yield 'client_time_utc = "now"  # when it is pushed'
        if "currency" not in present and "price" in self._fields:
            signs = (sign for sign in _CURRENCIES if any(sign in cell for cell in self._texts("price")))
            yield f'currency = "{_CURRENCIES[next(signs, "S$")]}"  # not sure'
        for field in fields_of(Order):
            if not field.required or field.name in present or field.name == "client_time_utc":
                continue
            if issubclass(field.inner, OpenEnum):
                values = [str(value) for value in field.inner]
                yield f'# {field.name} = "{values[0]}"  # is required: one of {", ".join(values)}'
            else:
                need = next(iter(required_of(field.inner)), "street_address")
                yield f"# {field.name}.{need} = …  # is required: no column was found for it"
        for window in sorted({field.partition(".")[0] for field in self._fields if "_window." in field}):
            for end in {f"{window}.start_time_utc", f"{window}.end_time_utc"} - self._fields.keys():
                yield f"# {end} is required: in [join] a column can give it, too; see minutes_later"
        if "tracking_id" not in present:
            yield "# no column was found that tells one order from another: give one the field tracking_id"

    def _dates(self) -> Iterator[str]:
        for field in self._fields:
            texts = self._texts(field)
            if not texts or not self._is_of(field, datetime) or _reads_all(_date_parser(None), texts):
                continue
            samples: dict[tuple[str, ...], str] = {}
            for sample in _date_samples():
                if _reads_all(_date_parser(sample), texts):
                    # Samples that differ in the order of day, month and year read one text as different days.
                    order = tuple(re.findall("31|12|30", sample.replace("2030", "30")))
                    samples.setdefault(order, sample)
            if len(samples) == 1:
                yield _date_rule(field, *samples.values())
                continue
            self._doubt_columns_of(field)
            if not samples:
                yield f"# {_quoted(field)} = …  # not sure how times are written: {_brief(texts[0])}"
                continue
            days = [[_date_parser(sample)(text).date() for sample in samples.values()] for text in texts]
            place = next((place for place, readings in enumerate(days) if len({*readings}) > 1), 0)
            yield f"# These dates can be read in {len(samples)} ways. Remove the # before the right one."
            for sample, day in zip(samples.values(), days[place], strict=True):
                yield f"# {_date_rule(field, sample)}  # reads {_brief(texts[place])} as {day}"

    def _numbers(self) -> Iterator[str]:
        for field in self._fields:
            kind = columns_of(Order)[field].kind
            texts = self._texts(field) if kind in (int, float, Money) else []
            parse = parser(kind, None)
            if parse is None or not texts or _reads_all(parse, texts):
                continue
            before = next((m[0].strip() for text in texts if (m := re.match(r"[^\d+-]+", text))), "")
            after = next((m[0].strip() for text in texts if (m := re.search(r"[^\d]+$", text))), "")
            after = f" {after}" if after else ""
            samples = [f"{before}{number}{after}" for number in ("1,234.56", "1.234,56", "1 234,56")]
            parsers = {sample: number_parser(sample, parse, whole=kind is int) for sample in samples}
            fitting = {sample: read for sample, read in parsers.items() if _reads_all(read, texts)}
            if fitting:
                yield from self._number_rules(field, texts, fitting)
            else:
                self._doubt_columns_of(field)
                yield f"# {_quoted(field)} = …  # not sure how numbers are written: {_brief(texts[0])}"

    def _number_rules(self, field: str, texts: Sequence[str], parsers: Mapping[str, Parse]) -> Iterator[str]:
        """A rule that all texts fit; several, none of them active, if one text would be different numbers."""
        sample, *others = parsers
        several = next((text for text in texts if len({parse(text) for parse in parsers.values()}) > 1), None)
        if several is None:
            yield f"{_quoted(field)} = {_quoted(sample)}{_doubt(f'could be {others[0]} as well') if others else ''}"
            return
        self._doubt_columns_of(field)
        yield "# These numbers can be read in more than one way. Remove the # before the right one."
        for sample in parsers:
            yield f"# {_quoted(field)} = {_quoted(sample)}{_doubt(f'fits {_brief(several)}')}"

    def _doubt_columns_of(self, field: str) -> None:
        self._unsure += [name for name in self._fields[field] if name not in self._unsure]

    def _phones(self) -> Iterator[str]:
        for field, names in self._fields.items():
            cells = [cell.strip() for cell in self._cells[names[0]]]
            if field.endswith(".phone") and not all(map(is_international, cells)):
                fits = all(map(is_international, map(phone_style(_PHONE), cells)))
                yield f"{_quoted(field)} = {_quoted(_PHONE)}{'' if fits else _doubt()}"

    def _values(self) -> Iterator[list[str]]:
        for field, names in self._fields.items():
            kind = columns_of(Order)[field].kind
            if not issubclass(kind, OpenEnum):
                continue
            known = [str(value) for value in kind]
            texts = dict.fromkeys(cell.strip() for name in names for cell in self._cells[name])
            lines = []
            for text in islice((text for text in texts if text not in known), _ABOVE):
                near = nearest(text, known)
                if near is None:
                    lines.append(f"# {_quoted(text)} = …  # not sure: one of {', '.join(known)}")
                else:
                    doubt = "" if near.casefold() == text.casefold() else _doubt()
                    lines.append(f"{_quoted(text)} = {_quoted(near)}{doubt}")
            comment = "# " if all(line.startswith("#") for line in lines) else ""
            yield [f"{comment}[values.{_quoted(field)}]", *lines] if lines else []


def _date_samples() -> Iterator[str]:
    days = (
        *("2030-12-31", "31/12/2030", "12/31/2030", "31-12-2030", "12-31-2030", "31.12.2030", "2030/12/31"),
        *("20301231", "31 Dec 2030", "31-Dec-2030", "31-Dec-30", "Dec 31, 2030", "December 31, 2030"),
        *("31/12/30", "12/31/30", "30/12/31", "31-12-30", "12-31-30", "30-12-31", "31.12.30"),
    )
    clocks = ("", "23:59", "23:59:58", "11:59 PM", "11:59PM", "11:59:58 PM")
    for clock, offset, day in product(clocks, ("", " +0800", "+08:00", " UTC"), days):
        if clock or not offset:
            for between in (" ", ", ", "T") if clock else ("",):
                yield f"{day}{between}{clock}{offset}"


def _date_rule(field: str, sample: str) -> str:
    """The line of [dates] for a sample."""
    if re.search(r"[:]|23|11", sample.replace("2030", "")) is None:
        return f'{_quoted(field)} = {{ like = {_quoted(sample)}, time = "09:00" }}  # not sure: no time of day'
    return f"{_quoted(field)} = {_quoted(sample)}"


@functools.cache
def _date_parser(sample: str | None) -> Parse:
    """A function that reads times that are written as a sample; None for the form that needs no map."""
    dates = Dates() if sample is None else Dates(like=(sample,), time="09:00")
    return dates_parser(dates, ZoneInfo("UTC"))


def _reads_all(parse: Parse, texts: Iterable[str]) -> bool:
    try:
        for text in texts:
            parse(text)
    except ValueError:
        return False
    return True


def _titled(title: str, lines: Iterable[str]) -> list[str]:
    """A section of the map; nothing if it has no lines."""
    section = [f"[{title}]", *lines]
    return section if len(section) > 1 else []


def _doubt(why: str = "") -> str:
    return f"  # not sure{': ' if why else ''}{why}"


def _brief(text: str) -> str:
    """The start of a text, without characters that a comment of TOML may not have."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return re.sub(r"\s+", " ", printable)[:30]


def _quoted(text: str | Sequence[str]) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # as TOML requires
