import base64
from urllib.parse import quote

import pytest
from yarl import URL

from ..kit import Client

PLAIN = b"plain-client-key:plain-secret-key"
STANDARD = base64.b64encode(PLAIN).decode()


@pytest.mark.parametrize(
    "signature",
    [
        quote(STANDARD, safe=""),
        STANDARD.rstrip("="),
        base64.urlsafe_b64encode(PLAIN).decode(),
        PLAIN.hex(),
        STANDARD.encode().hex(),
    ],
)
async def test_a_signature_shows_its_partner(plain: Client, signature: str) -> None:
    """A signature in any form in which the document can be read shows the partner's detail, without a token."""
    url = URL(f"{plain.simulator.api_base}/partners/{signature}", encoded=True)
    async with plain.session.get(url) as response:
        detail = await response.json()
    assert set(detail) == {
        "id", "client_key", "secret_key", "webhook_url", "name", "created_at", "updated_by", "updated_at",
    }  # fmt: skip
    assert (detail["client_key"], detail["secret_key"]) == ("plain-client-key", "plain-secret-key")


async def test_a_wrong_signature_shows_nothing(plain: Client) -> None:
    """A signature with another secret is refused."""
    signature = base64.urlsafe_b64encode(b"plain-client-key:guess").decode()
    answer = await plain.call("GET", f"/partners/{signature}")
    assert answer.status == 401
    assert b"plain-secret-key" not in answer.body


async def test_a_session_becomes_tokens(platform: Client) -> None:
    """An SSO session id becomes tokens that work, and tells who signed in."""
    session_id = platform.simulator.new_session("platform")
    answer = await platform.call("POST", "/platform/sso/token", {"session_id": session_id})
    assert answer.json["user"]["email"] == "platform@example.com"
    assert answer.json["user"]["roles"] == ["OrgAdmin"]
    platform.token = answer.json["bearer_token"]
    assert (await platform.call("GET", "/platform/tasks")).status == 200
    body = {"client_key": "platform-client-key", "refresh_token": answer.json["refresh_token"]}
    assert (await platform.call("POST", "/oauth2/refresh", body)).status == 200


async def test_a_session_is_good_once_and_for_five_minutes(platform: Client) -> None:
    """A session id that was used, or is five minutes old, is refused."""
    body = {"session_id": platform.simulator.new_session("platform")}
    assert (await platform.call("POST", "/platform/sso/token", body)).status == 200
    assert (await platform.call("POST", "/platform/sso/token", body)).status == 400
    body = {"session_id": platform.simulator.new_session("platform")}
    platform.simulator.advance(300)
    assert (await platform.call("POST", "/platform/sso/token", body)).status == 400


async def test_revoked_tokens_are_dead(plain: Client) -> None:
    """After a revocation neither the bearer token nor the refresh token works; others' tokens do."""
    other = await Client(plain.session, plain.simulator).sign_in("platform")
    plain.simulator.revoke("plain")
    assert (await plain.call("GET", "/tasks/none")).status == 401
    body = {"client_key": "plain-client-key", "refresh_token": plain.refresh_token}
    assert (await plain.call("POST", "/oauth2/refresh", body)).json["error"] == "invalid_grant"
    assert (await other.call("GET", "/tasks/none")).status == 404
