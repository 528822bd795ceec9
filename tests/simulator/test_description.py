"""The simulator's own OpenAPI document."""

from openapi_spec_validator import validate

from gotsurge_async.api.openapi import document

from .kit import Client


async def test_the_simulator_describes_itself(plain: Client) -> None:
    """It serves the document of the endpoint table without a token, valid, and with its own address as the server."""
    plain.token = ""
    answer = await plain.call("GET", "/_simulator/openapi.json")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    validate(answer.json)
    assert [server["url"] for server in answer.json["servers"]] == [plain.simulator.api_base]
    assert answer.json["paths"] == document()["paths"]
