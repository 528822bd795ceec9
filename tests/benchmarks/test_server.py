"""The server of the benchmarks checks what it gets."""

from http.client import HTTPConnection

import msgspec
import pytest

from benchmarks import orders
from benchmarks.processes import Server
from benchmarks.server import BASE, BEARER


def ask(server: Server, method: str, path: str, body: bytes = b"", bearer: str = BEARER) -> tuple[int, object]:
    """One call; status and JSON."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(method, f"{BASE}{path}", body, {"Authorization": f"Bearer {bearer}"})
        answer = connection.getresponse()
        return answer.status, msgspec.json.decode(answer.read())
    finally:
        connection.close()


def test_what_is_wrong_is_refused_and_counted() -> None:
    """No token, an order without a price, and a path that is none are refused; the count says so."""
    with Server() as server:
        order = orders.dicts(1)[0]
        assert ask(server, "POST", "/tasks", msgspec.json.encode({"tasks": [order]}))[0] == 200
        assert ask(server, "POST", "/tasks", msgspec.json.encode({"tasks": [order]}), bearer="other")[0] == 401
        del order["price"]
        assert ask(server, "POST", "/tasks", msgspec.json.encode({"tasks": [order]}))[0] == 400
        assert ask(server, "GET", "/nothing")[0] == 404
        counts = server.counts()
    assert (counts["calls"], counts["orders"], counts["distinct"], counts["refused"]) == (4, 1, 1, 3)


@pytest.mark.parametrize("count", [1, 1003])
def test_orders_have_ids_of_their_own(count: int) -> None:
    """However many orders are made, no tracking id comes twice, and every form of them has the same ids."""
    made = [order["tracking_id"] for order in orders.dicts(count)]
    assert len(set(made)) == count
    assert [order.tracking_id for order in orders.models(count)] == made


def test_the_csv_has_thirty_columns() -> None:
    """The file of the command's benchmark has 30 columns, and its orders are those of the peers."""
    (row,) = orders.rows(1)
    assert len(orders.columns()) == len(row) == 30
    assert orders.dicts(1, from_rows=True)[0]["tracking_id"] == row["tracking_id"]
