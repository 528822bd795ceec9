from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.simulator import SimulatorOptions
from gotsurge_async.simulator.operations.views import page_of
from gotsurge_async.simulator.replies import Call


def call(**query: Any) -> Call:
    texts = {name: str(value) for name, value in query.items()}
    return Call(body=b"", path={}, query=texts, authorization="", now=0.0)


@given(st.integers(0, 50), st.integers(1, 60), st.sampled_from(["asc", "desc"]))
def test_the_pages_together_are_the_whole(count: int, per_page: int, order: str) -> None:
    """All pages in turn hold every row once, in the order asked for."""
    rows = list(range(count))
    seen: list[int] = []
    for page in range(1, count // per_page + 3):
        found, meta = page_of(rows, call(page=page, per_page=per_page, order=order), SimulatorOptions(), ordered=True)
        assert meta == {"page": page, "per_page": per_page, "total": count}
        seen += found
    assert seen == (rows if order == "asc" else rows[::-1])
