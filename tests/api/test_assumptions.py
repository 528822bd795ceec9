"""`gotsurge_async.api.assumptions`: nothing that the document leaves open is forgotten."""

import pytest

from gotsurge_async.api.assumptions import ASSUMPTIONS

OPEN = (
    "paths",
    "error bodies",
    "Retry-After",
    "all-or-nothing",
    "order of its answer",
    "tracking_id is unique",
    "broadcasting an id that is no draft",
    "drafts are in Task List",
    "webhook carries tracking_id",
    '"tasks" in the answer of a draft create',
    "pages shift",
    "webhooks: repeats, order",
    "no list and no search",
)


@pytest.mark.parametrize("point", OPEN)
def test_every_open_point_has_a_choice(point: str) -> None:
    """Each point that the document leaves open is a topic, once, with what is done about it."""
    (found,) = [topic for topic in ASSUMPTIONS if point in topic]
    assert ASSUMPTIONS[found]
