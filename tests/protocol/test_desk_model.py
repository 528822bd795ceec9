"""The model of submitted orders: its rules keep an order from being doubled or forgotten, and each is needed."""

from pathlib import Path

import pytest

from tests.protocol.spin import defined, search

pytestmark = pytest.mark.slow

DOUBLED = "live<=1"
FORGOTTEN = "row=="
SENT_AFTER_ITS_END = "said_refused"
"""What tells the assertions apart by which something is wrong."""


@pytest.mark.parametrize(
    "defines", [(), ("DESKS=3", "TROUBLES=1"), ("CALLERS=2", "TROUBLES=2"), ("CALLERS=0", "DESKS=3")], ids=defined
)
def test_a_submitted_order_is_sent_once_and_has_an_outcome(tmp_path: Path, defines: tuple[str, ...]) -> None:
    """Whoever stops where: nothing is doubled, and the desk that is opened in the end knows what became of it."""
    found = search(tmp_path, "desk", *defines)
    assert found.failed == ""
    assert found.states > 10_000


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ("MARK", SENT_AFTER_ITS_END),
        ("TOGETHER", FORGOTTEN),
        ("UNMARK", FORGOTTEN),
        ("DOUBT", DOUBLED),
        ("KEY", DOUBLED),
    ],
)
def test_without_one_of_its_rules_something_is_wrong(tmp_path: Path, rule: str, wrong: str) -> None:
    """Each rule is needed: without it the order is doubled, forgotten, or sent after its end."""
    assert wrong in search(tmp_path, "desk", f"{rule}=0").failed
