"""A map that is proposed for a table, from its header and its first rows: for a person to read and mend."""

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice, product
from zoneinfo import ZoneInfo

import attrs

from gotsurge_async.bulk.sources.cells import Exact, Parse, parser
from gotsurge_async.bulk.sources.fields import FEEDBACK, columns_of, required_of
from gotsurge_async.bulk.sources.lines import Grid, Record
from gotsurge_async.bulk.sources.maps.column_map import Dates, Dialect
from gotsurge_async.bulk.sources.maps.guessing import SEVERAL, guess
from gotsurge_async.bulk.sources.maps.rules import dates_parser, number_parser, phone_style
from gotsurge_async.errors import ConfigError
from gotsurge_async.models.base import OpenEnum, fields_of
from gotsurge_async.models.phones import is_international
from gotsurge_async.models.rules import nearest
from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money

_ROWS = 500
_ABOVE = 20
_CURRENCIES = {"S$": "SGD", "US$": "USD", "RM": "MYR", "€": "EUR", "£": "GBP", "HK$": "HKD", "A$": "AUD"}
_PHONE = "+65 61234567"


@attrs.frozen
class Draft:
    """A proposed map.

    Attributes:
        text: the map, as TOML; what is not sure says so.
        sure: the columns whose fields are sure; unsure: those that somebody should look at; unknown: the others.
    """

    text: str
    sure: Sequence[str]
    unsure: Sequence[str]
    unknown: Sequence[str]


def draft_map(grid: Grid, dialect: Dialect, timezone: str | None = None) -> Draft:
    """Propose a map.

    Args:
        dialect: what the user said of the file.
        timezone: the zone of its times, if it was said.

    Raises:
        ConfigError: nothing of the table can be read.
        BadFile: the same.
    """
    told: list[str] = []
    records = list(islice(grid.records(lambda line, rule: told.append(f"line {line} {rule}")), _ROWS + _ABOVE))
    if not records:
        raise ConfigError(f"there is no table to look at{': ' + told[0] if told else ''}")
    place = _header_of(records, dialect.header_row)
    header, below = records[place], records[place + 1 :]
    if header.damaged:
        raise ConfigError("the header cannot be read: say the encoding of the file (--encoding)")
    rows = [record.cells for record in below if len(record.cells) == len(header.cells) and not record.damaged]
    return _Drafting([cell.strip() for cell in header.cells], rows).draft(
        _file_section(grid, dialect, header, timezone, titled=place > 0)
    )


def known_names(cells: Sequence[str]) -> int:
    """In how many names of columns a field is recognized."""
    return sum(guess(cell) is not None for cell in cells)


def _header_of(records: Sequence[Record], said: int | None) -> int:
    if said is not None:
        for place, record in enumerate(records):
            if record.line == said:
                return place
        raise ConfigError(f"line {said} is empty, or not there, and was said to name the columns (--header-row)")
    return max(range(min(_ABOVE, len(records))), key=lambda place: (known_names(records[place].cells), -place))


def _file_section(
    grid: Grid, dialect: Dialect, header: Record, timezone: str | None, *, titled: bool
) -> dict[str, str | int]:
    form = grid.form
    found: dict[str, str | int] = {}
    if form.sheet is not None:
        found["sheet"] = form.sheet
    if titled or dialect.header_row is not None:
        found["header_row"] = header.line
    if form.format == "csv" and form.delimiter != ",":
        found["delimiter"] = "tab" if form.delimiter == "\t" else form.delimiter
    if form.encoding != "utf-8" and not form.bom:
        found["encoding"] = form.encoding
    if timezone is not None:
        found["timezone"] = timezone
    return found


class _Drafting:
    """One draft."""

    def __init__(self, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._cells = {name: [row[place] for row in rows if row[place].strip()] for place, name in enumerate(names)}
        self._fields: dict[str, list[str]] = {}
        self._unsure: list[str] = []
        self._unknown: list[str] = []
        self._notes: dict[str, str] = {}
        self._repeated: dict[str, str] = {}
        self._names = names
        for name in dict.fromkeys(names):
            if name and name not in FEEDBACK:
                self._place(name)

    def _place(self, name: str) -> None:
        found = guess(name)
        if found is None or not self._fits(name, found.field):
            self._unknown.append(name)
            return
        if self._names.count(name) > 1:
            self._repeated[name] = found.field
            self._unsure.append(name)
            return
        taken = self._fields.setdefault(found.field, [])
        if taken and not found.field.endswith(SEVERAL):
            self._unknown.append(name)
            self._notes[name] = f'"{taken[0]}" seems to be {found.field}'
            return
        taken.append(name)
        if not found.sure or (len(taken) > 1 and not found.field.endswith("street_address")):
            self._unsure.append(name)

    def _fits(self, name: str, field: str) -> bool:
        """Whether the values can be what the name says: a number has digits, for one."""
        kind = columns_of(Order)[field].kind
        if kind not in (int, float, Money, datetime):
            return True
        return all(any(letter.isdigit() for letter in cell) for cell in self._cells[name][:_ABOVE])

    def draft(self, file: Mapping[str, str | int]) -> Draft:
        """The map."""
        text = "\n\n".join(filter(None, ("\n".join(lines) for lines in self._sections(file))))
        sure = [name for names in self._fields.values() for name in names if name not in self._unsure]
        return Draft(f"{text}\n", sure, self._unsure, self._unknown)

    def _sections(self, file: Mapping[str, str | int]) -> Iterator[list[str]]:
        dates, numbers = [*self._dates()], [*self._numbers()]  # first, as they say of more columns that they are unsure
        yield [
            "# A proposal: read it, mend it, and try it with gotsurge push FILE --map THIS.toml --dry-run.",
            '# What is marked "not sure" was guessed.',
        ]
        if self._unknown:
            lines = [f"  {_quoted(name)},{_doubt(self._notes.get(name) or self._seen(name))}" for name in self._unknown]
            yield ["# These are not read. Give those that matter a field in [columns].", "ignore = [", *lines, "]"]
        if file:
            yield ["[file]", *(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in file.items())]
        yield from _titled("columns", self._columns())
        yield from _titled("join", self._joins())
        yield from self._constants()
        yield from _titled("dates", dates)
        yield from _titled("numbers", numbers)
        yield from _titled("phones", self._phones())
        quoted = [field for field in self._fields if any(cell.startswith("'") for cell in self._texts(field))]
        yield from _titled("clean", (f'{_quoted(field)} = ["unquote"]' for field in quoted))
        yield from self._values()

    def _columns(self) -> Iterator[str]:
        for field, (name, *others) in self._fields.items():
            if not others and name != field:
                doubt = _doubt(self._seen(name)) if name in self._unsure else ""
                yield f"{_quoted(name)} = {_quoted(field)}{doubt}"
        for name, field in self._repeated.items():
            first, second, *_ = (place for place, each in enumerate(self._names, start=1) if each == name)
            why = f"stands twice (columns {first} and {second}): rename one of them in the file, and name it here"
            yield f"# {_quoted(name)} = {_quoted(field)}{_doubt(why)}"

    def _joins(self) -> Iterator[str]:
        for field, names in self._fields.items():
            if len(names) > 1:
                between = ", " if field.endswith("street_address") else " "
                doubt = _doubt() if any(name in self._unsure for name in names) else ""
                yield f'{_quoted(field)} = {{ columns = {_quoted(names)}, with = "{between}" }}{doubt}'

    def _seen(self, name: str) -> str:
        shown = ", ".join(dict.fromkeys(map(_brief, islice(self._cells[name], 3))))
        return f"such as {shown}" if shown else "empty in the first rows"

    def _texts(self, field: str) -> list[str]:
        """The cells of a field that are text, and not a number or a date of a workbook."""
        names = self._fields[field]
        if len(names) > 1:
            both = zip(*(self._cells[name] for name in names), strict=False)
            return [" ".join(cells) for cells in both]
        return [cell.strip() for cell in self._cells[names[0]] if type(cell) is not Exact]

    def _constants(self) -> Iterator[list[str]]:
        given = {field.partition(".")[0] for field in self._fields} | self._fields.keys()
        lines = []
        if "client_time_utc" not in given:
            lines.append('client_time_utc = "now"  # when it is pushed')
        if "currency" not in given and "price" in self._fields:
            found = [code for sign, code in _CURRENCIES.items() if any(sign in cell for cell in self._texts("price"))]
            lines.append(f'currency = "{found[0] if found else "SGD"}"  # not sure')
        for field in fields_of(Order):
            if field.required and field.name not in given and field.name != "client_time_utc":
                kinds = [str(each) for each in field.inner] if issubclass(field.inner, OpenEnum) else []
                if kinds:
                    lines.append(f'# {field.name} = "{kinds[0]}"  # is required: one of {", ".join(kinds)}')
                else:
                    need = next(iter(required_of(field.inner)), "street_address")
                    lines.append(f"# {field.name}.{need} = …  # is required: no column was found for it")
        for window in sorted({field.partition(".")[0] for field in self._fields if "_window." in field}):
            ends = {f"{window}.start_time_utc", f"{window}.end_time_utc"} - self._fields.keys()
            lines += [f"# {end} is required: in [join] a column can give it, too; see minutes_later" for end in ends]
        if "tracking_id" not in given:
            lines.append("# no column was found that tells one order from another: give one the field tracking_id")
        yield ["[constants]", *lines] if lines else []

    def _of_kind(self, *kinds: type) -> list[str]:
        return [field for field in self._fields if columns_of(Order)[field].kind in kinds]

    def _dates(self) -> Iterator[str]:
        for field in self._of_kind(datetime):
            texts = self._texts(field)[:_ROWS]
            if not texts or all(_passes(_date_parser(None), text) for text in texts):
                continue
            samples: dict[tuple[str, ...], str] = {}
            for sample in _date_samples():
                if all(_passes(_date_parser(sample), text) for text in texts):
                    samples.setdefault(_order_of(sample), sample)
            if len(samples) == 1:
                yield _date_rule(field, *samples.values())
                continue
            self._doubt_columns_of(field)
            if not samples:
                yield f"# {_quoted(field)} = …  # not sure how times are written: {_brief(texts[0])}"
                continue
            days = [[_date_parser(sample)(text).date() for sample in samples.values()] for text in texts]
            place = next((place for place, each in enumerate(days) if len({*each}) > 1), 0)
            yield f"# These dates can be read in {len(samples)} ways. Remove the # before the right one."
            for sample, day in zip(samples.values(), days[place], strict=True):
                yield f"# {_date_rule(field, sample)}  # reads {_brief(texts[place])} as {day}"

    def _numbers(self) -> Iterator[str]:
        for field in self._of_kind(int, float, Money):
            parse = parser(columns_of(Order)[field].kind, None)
            texts = self._texts(field)
            if parse is None or not texts or all(_passes(parse, text) for text in texts):
                continue
            before = next((m[0].strip() for text in texts if (m := re.match(r"[^\d+-]+", text))), "")
            after = next((m[0].strip() for text in texts if (m := re.search(r"[^\d]+$", text))), "")
            after = f" {after}" if after else ""
            whole = columns_of(Order)[field].kind is int
            samples = [f"{before}{number}{after}" for number in ("1,234.56", "1.234,56", "1 234,56")]
            parsers = {sample: number_parser(sample, parse, whole=whole) for sample in samples}
            found = [sample for sample, read in parsers.items() if all(_passes(read, text) for text in texts)]
            if found:
                yield from self._number_rules(field, texts, {sample: parsers[sample] for sample in found})
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
        for field in self._fields:
            cells = [cell.strip() for cell in self._cells[self._fields[field][0]]]
            if field.endswith(".phone") and not all(map(is_international, cells)):
                style = phone_style(_PHONE)
                fits = all(is_international(style(cell)) for cell in cells)
                yield f"{_quoted(field)} = {_quoted(_PHONE)}{'' if fits else _doubt()}"

    def _values(self) -> Iterator[list[str]]:
        for field, names in self._fields.items():
            kind = columns_of(Order)[field].kind
            if not issubclass(kind, OpenEnum):
                continue
            known = [str(each) for each in kind]
            seen = dict.fromkeys(cell.strip() for name in names for cell in self._cells[name])
            lines = []
            for text in islice((each for each in seen if each not in known), _ABOVE):
                near = nearest(text, known)
                exact = near is not None and near.casefold() == text.casefold()
                if near is None:
                    lines.append(f"# {_quoted(text)} = …  # not sure: one of {', '.join(known)}")
                else:
                    lines.append(f"{_quoted(text)} = {_quoted(near)}{'' if exact else _doubt()}")
            if all(line.startswith("#") for line in lines):
                yield [f"# [values.{_quoted(field)}]", *lines] if lines else []
            else:
                yield [f"[values.{_quoted(field)}]", *lines]


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


def _order_of(sample: str) -> tuple[str, ...]:
    """The order of day, month and year: samples that differ in it read one text as different days."""
    return tuple(re.findall("31|12|30", sample.replace("2030", "30")))


def _date_rule(field: str, sample: str) -> str:
    """The line of [dates] for a sample."""
    if re.search(r"[:]|23|11", sample.replace("2030", "")) is None:
        return f'{_quoted(field)} = {{ like = {_quoted(sample)}, time = "09:00" }}  # not sure: no time of day'
    return f"{_quoted(field)} = {_quoted(sample)}"


@functools.cache
def _date_parser(sample: str | None) -> Parse:
    """What reads times that are written so; None for the way that needs no map."""
    dates = Dates() if sample is None else Dates(like=(sample,), time="09:00")
    return dates_parser(dates, ZoneInfo("UTC"))


def _passes(parse: Parse, text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _titled(title: str, lines: Iterable[str]) -> Iterator[list[str]]:
    found = list(lines)
    if found:
        yield [f"[{title}]", *found]


def _doubt(why: str = "") -> str:
    return f"  # not sure{': ' if why else ''}{why}"


def _brief(text: str) -> str:
    """The start of a text, without what may not stand in a comment of TOML."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return re.sub(r"\s+", " ", printable)[:30]


def _quoted(text: str | Sequence[str]) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # which TOML wants so
