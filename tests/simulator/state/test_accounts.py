import pytest

from ..kit import Client, order

DAY = 86400.0
KEYS = {"client_key": "plain-client-key", "secret_key": "plain-secret-key"}


async def status_of_a_read(client: Client) -> int:
    """404 with a token that works (there is no such task), 401 without."""
    return (await client.call("GET", "/tasks/none")).status


async def test_an_exchange_answers_as_the_document_shows(plain: Client) -> None:
    """A code becomes a bearer token and a refresh token, with the server's time."""
    answer = await plain.call("POST", "/oauth2/token", {**KEYS, "code": plain.simulator.new_code("plain")})
    assert answer.status == 200
    assert set(answer.json) == {"bearer_token", "refresh_token", "server_time"}
    assert answer.json["server_time"] == "2026-01-01T00:00:00Z"


async def test_a_code_is_good_once(plain: Client) -> None:
    """The second exchange of a code is refused as invalid_grant."""
    body = {**KEYS, "code": plain.simulator.new_code("plain")}
    assert (await plain.call("POST", "/oauth2/token", body)).status == 200
    again = await plain.call("POST", "/oauth2/token", body)
    assert (again.status, again.json["error"]) == (400, "invalid_grant")


async def test_a_code_is_good_for_ten_minutes(plain: Client) -> None:
    """A code that is ten minutes old is refused."""
    body = {**KEYS, "code": plain.simulator.new_code("plain")}
    plain.simulator.advance(600)
    assert (await plain.call("POST", "/oauth2/token", body)).status == 400


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"secret_key": "wrong"}, 401),
        ({"client_key": "nobody"}, 401),
        ({"client_key": "platform-client-key", "secret_key": "platform-secret-key"}, 400),
        ({"code": "wrong"}, 400),
        ({"code": 5}, 422),
    ],
)
async def test_an_exchange_with_something_wrong_is_refused(
    plain: Client, changes: dict[str, object], status: int
) -> None:
    """Wrong keys, another partner's code and a wrong type are refused."""
    body = {**KEYS, "code": plain.simulator.new_code("plain"), **changes}
    answer = await plain.call("POST", "/oauth2/token", body)
    assert answer.status == status
    assert "plain-secret-key" not in answer.body.decode()


async def test_a_bearer_token_lasts_thirty_days(plain: Client) -> None:
    """A bearer token works up to its thirtieth day and not after."""
    plain.simulator.advance(30 * DAY - 1)
    assert await status_of_a_read(plain) == 404
    plain.simulator.advance(1)
    answer = await plain.create(order())
    assert (answer.status, answer.json["error"]) == (401, "token_expired")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert plain.simulator.audit()["tasks"] == 0


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", "Basic eDp5", "Token {token}"])
async def test_a_call_needs_a_bearer_token(plain: Client, header: str) -> None:
    """Without a bearer token that is known, a call is refused."""
    headers = {"Authorization": header.format(token=plain.token)}
    async with plain.session.get(f"{plain.simulator.api_base}/tasks/none", headers=headers) as response:
        assert response.status == 401


async def test_a_refresh_gives_a_new_token(plain: Client) -> None:
    """A refresh, also long after the end, gives a bearer token that lasts thirty days more, and ends no other."""
    body = {"client_key": "plain-client-key", "refresh_token": plain.refresh_token}
    answer = await plain.call("POST", "/oauth2/refresh", body)
    assert set(answer.json) == {"bearer_token"}
    assert await status_of_a_read(plain) == 404
    plain.simulator.advance(90 * DAY)
    answer = await plain.call("POST", "/oauth2/refresh", body)
    plain.token = answer.json["bearer_token"]
    plain.simulator.advance(30 * DAY - 1)
    assert await status_of_a_read(plain) == 404


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"refresh_token": "wrong"}, 400, "invalid_grant"),
        ({"client_key": "platform-client-key"}, 400, "invalid_grant"),
        ({"client_key": "nobody"}, 401, "invalid_client"),
    ],
)
async def test_a_refresh_with_something_wrong_is_refused(
    plain: Client, changes: dict[str, str], status: int, code: str
) -> None:
    """An unknown refresh token, or another partner's, is refused."""
    body = {"client_key": "plain-client-key", "refresh_token": plain.refresh_token, **changes}
    answer = await plain.call("POST", "/oauth2/refresh", body)
    assert (answer.status, answer.json["error"]) == (status, code)
