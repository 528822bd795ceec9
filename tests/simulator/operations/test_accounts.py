import base64
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from ..kit import Answer, Client, order

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


BASE = "/platform/organizations"


async def create(client: Client, name: Any = "ABC Merchant") -> str:
    answer = await client.call("POST", BASE, {"business_name": name})
    assert answer.status == 200, answer.body
    org_id: str = answer.json["organization"]["id"]
    return org_id


async def role(client: Client, org_id: str, name: str) -> str:
    roles = (await client.get(f"{BASE}/{org_id}/roles"))["roles"]
    return next(str(found["id"]) for found in roles if found["name"] == name)


async def invite(client: Client, org_id: str, role_id: str, *emails: Any) -> Answer:
    body = {"user": {"emails": list(emails), "org_id": org_id, "role_id": role_id}}
    return await client.call("POST", "/platform/users/invite", body)


async def test_an_organization_is_created_listed_and_shown(platform: Client) -> None:
    """A created organization is listed, and shown by its id with all of its fields; the partner's own is only shown."""
    own = platform.simulator.accounts["platform"].org_id
    assert (await platform.get(f"{BASE}/{own}"))["organization"]["id"] == own
    org_id = await create(platform)
    shown = (await platform.get(f"{BASE}/{org_id}"))["organization"]
    listed = await platform.get(BASE)
    assert listed == {"meta": {"page": 1, "per_page": 200, "total": 1}, "organizations": [shown]}
    assert set(shown) == {
        "id", "business_name", "squad_price", "min_price", "max_price", "price_table", "squad_code", "fleet_types",
        "is_qa", "created_at", "updated_at", "version_seq", "version_rev",
    }  # fmt: skip
    assert shown["business_name"] == "ABC Merchant"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "A&B",
        "Café",
        "root",
        "ADMIN",
        "Freelancedriver",
        "my GotSurge",
        "VersaFleet-2",
        "Plain Partner",
        "Abc-1_x",
        5,
    ],
)
async def test_some_names_are_refused(platform: Client, name: Any) -> None:
    """Names with other characters, reserved ones, protected ones and taken ones, in any case, are refused."""
    await create(platform, "ABC-1_X")
    answer = await platform.call("POST", BASE, {"business_name": name})
    assert answer.status == 422
    assert answer.json["errors"][0]["field"] == "business_name"


async def test_a_strangers_organization_is_not_found(platform: Client) -> None:
    """Another account's organization is unknown, as are its roles, and nobody is invited into it."""
    other = platform.simulator.accounts["plain"].org_id
    assert (await platform.call("GET", f"{BASE}/{other}")).status == 404
    assert (await platform.call("GET", f"{BASE}/{other}/roles")).status == 404
    answer = await invite(platform, other, "x", "a@example.com")
    assert answer.json["errors"][0]["field"] == "user.org_id"


async def test_roles_belong_to_their_organization(platform: Client) -> None:
    """A role of one organization cannot be given in another."""
    first, second = await create(platform, "First"), await create(platform, "Second")
    role_id = await role(platform, first, "Viewer")
    answer = await invite(platform, second, role_id, "a@example.com")
    assert answer.json["errors"][0]["field"] == "user.role_id"
    assert (await invite(platform, first, role_id, "a@example.com")).status == 200


@pytest.mark.parametrize(
    "emails", [[], ["nobody"], ["@example.com"], ["a@b.co", "a@b.co"], ["a@b.co", "platform@example.com"], [7]]
)
async def test_an_invitation_needs_new_emails(platform: Client, emails: list[Any]) -> None:
    """What is no email, and who is a user already, is refused, and nobody of that call is invited."""
    own = platform.simulator.accounts["platform"].org_id
    role_id = await role(platform, own, "Viewer")
    assert (await invite(platform, own, role_id, *emails)).status == 422
    assert (await invite(platform, own, role_id, "a@b.co")).status == 200


ADMIN_CALLS = [
    ("POST", "/platform/users/invite"),
    ("POST", "/platform/tasks"),
    ("GET", "/platform/tasks"),
    ("GET", "/platform/tasks/x"),
    ("PATCH", "/platform/tasks/x"),
    ("POST", "/platform/tasks/drafts"),
    ("POST", "/platform/tasks/drafts/broadcast"),
]
PARTNER_CALLS = [
    ("POST", BASE),
    ("GET", BASE),
    ("GET", f"{BASE}/x"),
    ("GET", f"{BASE}/x/roles"),
    ("POST", "/platform/tasks/drafts/broadcast-with-tracking"),
    ("PATCH", "/platform/tasks/tracking-ids"),
]


@pytest.mark.parametrize(("verb", "path"), [*ADMIN_CALLS, *PARTNER_CALLS])
async def test_platform_calls_are_for_platform_partners(plain: Client, verb: str, path: str) -> None:
    """A plain partner is refused everything of the platform."""
    assert (await plain.call(verb, path, {})).status == 403


@pytest.mark.parametrize("organization", ["own", "associated"])
async def test_some_calls_are_for_the_org_admin(platform: Client, organization: str) -> None:
    """Neither a viewer of the platform nor an OrgAdmin of an associated organization may do an OrgAdmin's calls."""
    own = organization == "own"
    org_id = platform.simulator.accounts["platform"].org_id if own else await create(platform)
    role_id = await role(platform, org_id, "Viewer" if own else "OrgAdmin")
    await invite(platform, org_id, role_id, "someone@example.com")
    await platform.sign_in("platform", "someone@example.com")
    for verb, path in ADMIN_CALLS:
        assert (await platform.call(verb, path, {})).status == 403, path
    for verb, path in PARTNER_CALLS:
        assert (await platform.call(verb, path, {})).status != 403, path


async def test_a_task_is_for_an_organization_of_ones_own(platform: Client) -> None:
    """A task can be for an organization that the partner manages, and for no other."""
    org_id = await create(platform)
    answer = await platform.create(order(org_id=org_id), order(), path="/platform/tasks")
    own = platform.simulator.accounts["platform"].org_id
    assert [task["org_id"] for task in answer.json["tasks"]] == [org_id, own]
    other = platform.simulator.accounts["plain"].org_id
    answer = await platform.create(order(org_id=other), path="/platform/tasks")
    assert answer.json["errors"][0]["field"] == "org_id"
