"""A map that is drafted for the table of each program, and completed by a person: what it was sure of is right."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from msgspec import structs

from gotsurge_async.bulk import FileMap, open_source
from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money
from gotsurge_async.tables import open_grid
from gotsurge_async.tables.fields import columns_of
from gotsurge_async.tables.maps.column_map import ColumnMap, Dialect, Join
from gotsurge_async.tables.maps.draft import Draft, draft_map
from gotsurge_async.tables.options import read_map
from tests.tables.exports.kit import Program, differences, programs
from tests.tables.kit import cells_of

PROGRAMS = programs()
FIELDS = columns_of(Order)


def drafted(program: Program, file: Path) -> tuple[Draft, FileMap]:
    """The draft for a file, for which a person names the encoding, the delimiter and the zone; and its map."""
    own = read_map(program.map.encode(), "own")
    named = Dialect(encoding=own.orders.dialect.encoding, delimiter=own.orders.dialect.delimiter)
    options = attrs.evolve(program.options(file, FileMap()), timezone=own.timezone)
    options = attrs.evolve(options, encoding=named.encoding, delimiter=named.delimiter)
    with open_grid(file, options=options) as grid:
        draft = draft_map(grid, named, own.timezone)
    return draft, read_map(draft.text.encode(), "draft")


def applies(section: str, field: str) -> bool:
    """Whether "*" in a section of a map means a field."""
    kind = FIELDS[field].kind
    return {
        "dates": kind is datetime, "numbers": kind in (int, float, Money), "phones": field.endswith(".phone")
    }.get(section, section == "clean")  # fmt: skip


def sure_fields(draft: Draft, proposed: ColumnMap) -> dict[str, tuple[str, ...]]:
    """The fields of which a draft is sure, and their columns."""
    sure = {column: proposed.columns.get(column, column) for column in draft.sure}
    fields = {field: (column,) for column, field in sure.items() if field in FIELDS}
    joined = {field: join.columns for field, join in proposed.join.items() if {*join.columns} <= {*draft.sure}}
    return {field: columns for field, columns in fields.items() if field not in proposed.join} | joined


def completed(draft: Draft, proposed: FileMap, own: FileMap) -> FileMap:
    """The draft where it is sure; what a careful person writes for all else."""
    ours, theirs = own.orders, proposed.orders
    sure = sure_fields(draft, theirs)
    columns = {columns[0]: field for field, columns in sure.items() if field not in theirs.join}
    joins = {field: theirs.join[field] for field in sure if field in theirs.join}
    for column, field in ours.columns.items():
        if field in sure:
            continue
        if column in columns:
            joins[field] = structs.replace(next(iter(ours.join.values()), Join(columns=())), columns=(column,))
        else:
            columns[column] = field
    joins |= {field: join for field, join in ours.join.items() if field not in sure}
    constants = {field: value for field, value in ours.constants.items() if field not in sure}
    fields = {*columns.values(), *joins}

    def rules(section: str) -> Mapping[str, Any]:
        of_draft, of_person = getattr(theirs, section), getattr(ours, section)
        result = {}
        for field in fields:
            rule = of_draft if field in sure else of_person
            value = rule.get(field, rule.get("*") if applies(section, field) else None)
            if value is not None:
                result[field] = value
        return result

    orders = structs.replace(
        ours, columns=columns, join=joins, constants=constants, ignore=frozenset({"*"}),
        dialect=theirs.dialect.over(structs.replace(ours.dialect, header_row=theirs.dialect.header_row)),
        **{section: rules(section) for section in ("dates", "numbers", "phones", "values", "clean")},
    )  # fmt: skip
    return FileMap(orders=orders, items=own.items, timezone=proposed.timezone or own.timezone)


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_cell_is_wrong_that_a_draft_is_sure_of(name: str, tmp_path: Path) -> None:
    """A draft may ask; what it does not ask is right, and no row is taken for an order that is none."""
    program = PROGRAMS[name]
    file = program.written(tmp_path)
    own = read_map(program.map.encode(), "own")
    with open_source(file, options=program.options(file)) as source:
        keys = {row.line: row.key for row in source.rows()}
    draft, proposed = drafted(program, file)
    sure = sure_fields(draft, proposed.orders)
    told = {*program.content["fields"], *program.content.get("all", {})}
    wrong = []
    options = attrs.evolve(program.options(file, completed(draft, proposed, own)), items=None)
    with open_source(file, options=options) as source:
        for row in source.rows():
            one, other = (
                {field: " ".join(text.split()) for field, text in cells.items()}  # a map may clean line breaks, or not
                for cells in (cells_of(row.order), program.truth[keys[row.line]])
            )
            differing = differences(one, other)
            wrong += [
                (row.key, field, has, true) for field, (has, true) in differing.items() if field in {*sure} & told
            ]
    assert wrong == []
