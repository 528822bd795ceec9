"""Tables as thirty programs and people write them, which were not written to suit this one: each cell is read back.

The names of the columns, and how each program writes dates, amounts and phone numbers, are from its public documents.
"""

from pathlib import Path

import pytest

from gotsurge_async.bulk import open_source

from .kit import differences, programs, pushed

PROGRAMS = programs()
MOST_LINES = 34
FEWEST, MOST = 6, 12


@pytest.mark.parametrize("name", PROGRAMS)
async def test_each_cell_of_a_push_is_the_truth(name: str, tmp_path: Path) -> None:
    """Each order of the table is in the simulator once, no cell is wrong, and none is there that should not be."""
    program = PROGRAMS[name]
    file, truth = program.written(tmp_path), program.truth
    options = program.options(file)
    with open_source(file, options=options) as source:
        keys = [row.key for row in source.rows()]
    assert list(source.report.lines()) == []
    assert keys == list(truth)
    found = await pushed(str(file), options, tmp_path)
    assert found.audit["by_tracking_id"] == dict.fromkeys(truth, 1)
    assert {key: differences(found.tasks[key], cells) for key, cells in truth.items()} == {key: {} for key in truth}
    items = program.content.get("items", {})
    assert {key: [list(item) for item in found.items[key]] for key in items} == items


def test_there_are_thirty_and_their_maps_are_short() -> None:
    """Each has six to twelve orders, and a map that fits on a screen."""
    assert len(PROGRAMS) >= 30
    for program in PROGRAMS.values():
        assert FEWEST <= len(program.content["orders"]) <= MOST, program.name
        assert len(program.map.splitlines()) <= MOST_LINES, program.name
