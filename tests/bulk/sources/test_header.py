"""The two ways of reading a row: the straight one gives what the careful one gives, or nothing."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async.bulk.sources.fields import ITEM_KEY, candidate_of
from gotsurge_async.bulk.sources.header import Header, Reading
from gotsurge_async.bulk.sources.maps.reading import read_map
from gotsurge_async.bulk.sources.options import Dialect, SourceOptions
from gotsurge_async.models.tasks import Order
from tests.support.order_forms import CELLS, NOW

MAPS = (
    "",
    '[constants]\nto_contact.berth_no = "J07"\nclient_timezone = "UTC"\n',
    '[defaults]\nvehicle_preference = "car"\nto_contact.vessel_imo = 9321483\nfrom_contact.name = "Mei"\n',
    '[join]\nto_address.street_address = ["a", "b"]\n[clean]\n"*" = "unquote"\n[numbers]\n"*" = "S$1,234.56"\n',
)
_cells = st.sampled_from(("", " ", "x", "'", "'x", "S$5", "1,200", "91", "2030-03-05T01:00Z", "1e400"))


@given(
    text=st.sampled_from(MAPS),
    left_out=st.sets(st.sampled_from(sorted(CELLS)), max_size=3),
    odd=st.dictionaries(st.sampled_from([*CELLS, "a", "b"]), _cells, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_both_ways_give_the_same(text: str, left_out: set[str], odd: dict[str, str]) -> None:
    """Where nothing is wrong the straight way gives the very order; where anything is, or is missing, none."""
    column_map = read_map(text.encode(), "m").orders
    names = [name for name in [*CELLS, "a", "b"] if name not in left_out]
    told: list[Any] = []
    options = SourceOptions(now=NOW)
    reading = Reading(Order, column_map, Dialect(), ITEM_KEY, options)
    header = Header(names, reading, lambda *_: None)
    cells = [{**CELLS, "a": "7", "b": "Way", **odd}[name] for name in names]
    careful = header.read(cells, lambda *wrong: told.append(wrong))
    try:
        straight = header.make(cells)
    except ValueError:
        assert told or not header.complete
    else:
        assert told == []
        assert straight == candidate_of(Order)(**careful)
