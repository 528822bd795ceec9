"""The rows of result files."""

import csv
import io

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gotsurge_async.bulk.after.results import FILES
from gotsurge_async.bulk.after.writing import csv_line
from gotsurge_async.bulk.ledger import OrderState, word_of

_cells = st.text(st.sampled_from('a ,;\t|"\r\n\u2028é'), max_size=5) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=8
)


@given(st.lists(_cells, min_size=2, max_size=6), st.sampled_from(",;\t|"))
@example(["a,b", "c"], ",")
@example(["", ""], ",")
@settings(max_examples=300, deadline=None)
def test_a_line_is_what_the_csv_module_writes(cells: list[str], delimiter: str) -> None:
    """Quotes stand where they are needed, and nowhere else."""
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=delimiter).writerow(cells)
    assert csv_line(cells, delimiter) == written.getvalue().encode()


def test_every_state_has_its_file() -> None:
    """A state that is new cannot be forgotten."""
    assert {word_of(state) for state in OrderState} == FILES.keys()
