import re
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest

from gotsurge_async.simulator import Simulator, SimulatorOptions

from .kit import Answer, Client, FakeTime

REDIRECT = "http://127.0.0.1:9/callback"
QUERY = {"client_key": "plain-client-key", "redirect_url": REDIRECT, "state": "s&1"}
SSO_QUERY = {"client_key": "platform-client-key", "receive_url": "http://localhost:9/receive-session"}


class Person:
    """Somebody with a browser."""

    def __init__(self, session: aiohttp.ClientSession, simulator: Simulator) -> None:
        self.session = session
        self.simulator = simulator

    async def visit(self, path: str, **query: str) -> Answer:
        address = f"{self.simulator.origin}{path}?{urlencode(query)}"
        async with self.session.get(address, allow_redirects=False) as response:
            return Answer(response.status, response.headers, await response.read())

    async def submit(self, page: Answer, **fields: str) -> Answer:
        """Send the form of a page, with what was filled in."""
        html = page.body.decode()
        action, form = re.search(r'action="([^"]+)"', html), re.search(r'name="form" value="([^"]+)"', html)
        assert action is not None
        assert form is not None
        return await self.post(action[1], form=form[1], **fields)

    async def post(self, path: str, **fields: str) -> Answer:
        async with self.session.post(self.simulator.origin + path, data=fields, allow_redirects=False) as response:
            return Answer(response.status, response.headers, await response.read())

    async def sign_in(self, page: Answer, name: str = "plain", password: str | None = None) -> Answer:
        """Fill in the sign-in form, and follow to where it leads."""
        password = password or f"{name}-password"
        answer = await self.submit(page, email=f"{name}@example.com", password=password)
        if answer.status != 303:
            return answer
        address = urlsplit(answer.headers["Location"])
        return await self.visit(address.path, **{name: values[0] for name, values in parse_qs(address.query).items()})

    async def reach_consent(self, **query: str) -> Answer:
        return await self.sign_in(await self.visit("/oauth2/auth", **{**QUERY, **query}))


@pytest.fixture
async def person(time: FakeTime) -> AsyncIterator[Person]:
    # Browsers keep the cookies of 127.0.0.1; this jar does so with an option.
    async with (
        Simulator(clock=time) as simulator,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
    ):
        yield Person(session, simulator)


def redirected(answer: Answer) -> tuple[str, dict[str, str]]:
    """Where a redirect goes: the address, and what its query says."""
    assert answer.status == 303, answer.body
    address, _, query = answer.headers["Location"].partition("?")
    return address, {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}


async def exchange(person: Person, code: str) -> Answer:
    body = {"client_key": "plain-client-key", "secret_key": "plain-secret-key", "code": code}
    return await Client(person.session, person.simulator).call("POST", "/oauth2/token", body)


async def test_consent_leads_back_with_a_code(person: Person) -> None:
    """Sign-in and consent lead back to the partner with the state and a code that becomes tokens once."""
    consent = await person.reach_consent()
    assert consent.status == 200
    for text in (b"plain@example.com", b"Plain Partner", b"http://127.0.0.1:9<"):
        assert text in consent.body
    address, answer = redirected(await person.submit(consent, decision="allow"))
    assert address == REDIRECT
    assert set(answer) == {"code", "state"}
    assert answer["state"] == "s&1"
    assert (await exchange(person, answer["code"])).status == 200
    assert (await exchange(person, answer["code"])).status == 400


@pytest.mark.parametrize("decision", [{"decision": "refuse"}, {}])
async def test_refusal_leads_back_with_an_error(person: Person, decision: dict[str, str]) -> None:
    """A refusal, or a form without a decision, leads back with access_denied and the state, and no code."""
    address, answer = redirected(await person.submit(await person.reach_consent(), **decision))
    assert address == REDIRECT
    assert answer == {"error": "access_denied", "error_description": "The user refused", "state": "s&1"}


async def test_no_state_comes_back_when_none_was_sent(person: Person) -> None:
    """Without a state there is none in the redirect, and an empty one stays an empty one."""
    page = await person.visit("/oauth2/auth", client_key="plain-client-key", redirect_url=REDIRECT)
    _, answer = redirected(await person.submit(await person.sign_in(page), decision="allow"))
    assert set(answer) == {"code"}
    page = await person.visit("/oauth2/auth", **{**QUERY, "state": ""})
    _, answer = redirected(await person.submit(page, decision="allow"))
    assert answer["state"] == ""


async def test_the_query_of_the_redirect_is_kept(person: Person) -> None:
    """What the partner's address has in its query is still there."""
    consent = await person.reach_consent(redirect_url=f"{REDIRECT}?tenant=a%26b")
    _, answer = redirected(await person.submit(consent, decision="allow"))
    assert set(answer) == {"tenant", "code", "state"}
    assert answer["tenant"] == "a&b"


async def test_who_is_signed_in_is_not_asked_again(person: Person) -> None:
    """The second visit goes straight to the consent; somebody else may sign in from there."""
    await person.reach_consent()
    consent = await person.visit("/oauth2/auth", **QUERY)
    assert b'value="allow"' in consent.body
    other = await person.submit(consent, decision="other")
    assert b'name="password"' in other.body
    assert b'name="password"' in (await person.visit("/oauth2/auth", **QUERY)).body


@pytest.mark.parametrize("email", ["plain@example.com", "nobody@example.com", ""])
async def test_a_wrong_password_asks_again(person: Person, email: str) -> None:
    """A wrong password and an unknown email get the same answer, and the form again."""
    page = await person.visit("/oauth2/auth", **QUERY)
    answer = await person.submit(page, email=email, password="guess")
    assert answer.status == 401
    assert b"The email or the password is wrong." in answer.body
    assert (await person.sign_in(answer)).status == 200


async def test_anothers_user_may_not_consent(person: Person) -> None:
    """A user of another account is not let in, nor does a sign-in for one partner count for another."""
    page = await person.visit("/oauth2/auth", **QUERY)
    answer = await person.sign_in(page, "platform")
    assert answer.status == 403
    assert b"may not sign in for Plain Partner" in answer.body
    await person.sign_in(answer)
    page = await person.visit("/oauth2/auth", client_key="platform-client-key", redirect_url=REDIRECT)
    assert b'name="password"' in page.body


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"client_key": "nobody"}, b"Unknown application"),
        ({"client_key": ""}, b"Unknown application"),
        ({"redirect_url": ""}, b"Unknown address"),
        ({"redirect_url": "https://evil.example/callback"}, b"Unknown address"),
        ({"redirect_url": "http://127.0.0.1.evil.example/"}, b"Unknown address"),
        ({"redirect_url": "http://127.0.0.1@evil.example/"}, b"Unknown address"),
        ({"redirect_url": "http://evil.example\\@127.0.0.1/"}, b"Unknown address"),
        ({"redirect_url": "http://x@127.0.0.1/"}, b"Unknown address"),
        ({"redirect_url": "http://127.0.0.1:9;script-src/"}, b"Unknown address"),
        ({"redirect_url": "javascript:alert(1)//127.0.0.1"}, b"Unknown address"),
        ({"redirect_url": "http://127.0.0.1:9/#fragment"}, b"Unknown address"),
        ({"redirect_url": "//127.0.0.1/"}, b"Unknown address"),
    ],
)
async def test_an_unknown_client_or_address_gets_a_page(person: Person, changes: dict[str, str], text: bytes) -> None:
    """Who sends an unknown client_key or redirect_url gets a page that says so, and nobody is redirected."""
    page = await person.visit("/oauth2/auth", **{**QUERY, **changes})
    assert page.status == 400
    assert text in page.body
    assert "Location" not in page.headers


async def test_a_registered_address_is_known(time: FakeTime) -> None:
    """An address that the options name is redirected to, exactly as it stands there."""
    options = SimulatorOptions(redirect_urls=("https://partner.example/callback",))
    async with (
        Simulator(clock=time, options=options) as simulator,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
    ):
        person = Person(session, simulator)
        consent = await person.reach_consent(redirect_url="https://partner.example/callback")
        address, _ = redirected(await person.submit(consent, decision="allow"))
        assert address == "https://partner.example/callback"
        page = await person.visit("/oauth2/auth", **{**QUERY, "redirect_url": "https://partner.example/other"})
        assert page.status == 400


async def test_a_form_is_good_once(person: Person) -> None:
    """A form that is sent again is refused."""
    consent = await person.reach_consent()
    assert (await person.submit(consent, decision="allow")).status == 303
    assert (await person.submit(consent, decision="allow")).status == 403


async def test_a_form_is_good_for_ten_minutes(person: Person) -> None:
    """A form that is ten minutes old is refused, be it the sign-in's or the consent's."""
    page = await person.visit("/oauth2/auth", **QUERY)
    person.simulator.advance(600)
    assert (await person.submit(page, email="plain@example.com", password="plain-password")).status == 403
    consent = await person.reach_consent()
    person.simulator.advance(600)
    assert (await person.submit(consent, decision="allow")).status == 403


async def test_a_form_belongs_to_its_browser(person: Person) -> None:
    """A form of one browser is worthless in another, signed in or not: no other site can send it."""
    consent = await person.reach_consent()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        victim = Person(session, person.simulator)
        assert (await victim.submit(consent, decision="allow")).status == 403
        await victim.reach_consent()
        assert (await victim.submit(consent, decision="allow")).status == 403
        assert (await victim.post("/oauth2/auth", decision="allow")).status == 403
        assert (await victim.post("/oauth2/auth", form="guess", decision="allow")).status == 403


async def test_a_sign_in_form_is_no_consent(person: Person) -> None:
    """The form of a sign-in cannot be sent as a consent."""
    await person.reach_consent()
    page = await person.visit("/oauth2/auth", client_key="platform-client-key", redirect_url=REDIRECT)
    form = re.search(rb'name="form" value="([^"]+)"', page.body)
    assert form is not None
    answer = await person.post("/oauth2/auth", form=form[1].decode(), decision="allow")
    assert answer.status == 403


async def test_signing_in_takes_a_new_cookie(person: Person) -> None:
    """The cookie from before a sign-in is not signed in afterwards, and scripts cannot read the new one."""
    page = await person.visit("/oauth2/auth", **QUERY)
    before = page.headers["Set-Cookie"]
    answer = await person.submit(page, email="plain@example.com", password="plain-password")
    after = answer.headers["Set-Cookie"]
    assert before != after
    assert "HttpOnly" in after
    assert "SameSite=Lax" in after
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        address = f"{person.simulator.origin}/oauth2/auth?{urlencode(QUERY)}"
        async with session.get(address, headers={"Cookie": before.split(";")[0]}) as response:
            assert b'name="password"' in await response.read()


async def test_pages_protect_themselves(person: Person) -> None:
    """No page is cached, framed, or runs what is not its own."""
    pages = [
        await person.visit("/oauth2/auth", **QUERY),
        await person.visit("/oauth2/auth"),
        await person.reach_consent(),
        await person.visit("/sso/login", **SSO_QUERY),
    ]
    for page in pages:
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


async def test_what_users_chose_is_escaped(person: Person) -> None:
    """An email that looks like HTML is shown as text."""
    client = await Client(person.session, person.simulator).sign_in("platform")
    org_id = person.simulator.accounts["platform"].org_id
    roles = (await client.get(f"/platform/organizations/{org_id}/roles"))["roles"]
    email = "<script>@example.com"
    user = {"emails": [email], "org_id": org_id, "role_id": roles[0]["id"]}
    assert (await client.call("POST", "/platform/users/invite", {"user": user})).status == 200
    page = await person.visit("/oauth2/auth", client_key="platform-client-key", redirect_url=REDIRECT)
    answer = await person.submit(page, email=email, password="invited-password")
    assert answer.status == 303
    consent = await person.visit("/oauth2/auth", client_key="platform-client-key", redirect_url=REDIRECT)
    assert b"&lt;script&gt;@example.com" in consent.body
    assert b"<script>" not in consent.body


async def test_sso_hands_a_session_to_the_partners_page(person: Person) -> None:
    """The SSO sign-in ends with a page that posts a session id, good for tokens, to the partner's page alone."""
    page = await person.sign_in(await person.visit("/sso/login", **SSO_QUERY), "platform")
    assert page.status == 200
    html = page.body.decode()
    handed = re.search(r'<script nonce="([^"]+)" data-address="([^"]+)" data-session="([^"]+)">', html)
    nonce = re.search(r"script-src 'nonce-([^']+)'", page.headers["Content-Security-Policy"])
    assert handed is not None
    assert nonce is not None
    assert handed[1] == nonce[1]
    assert "frame-src http://localhost:9" in page.headers["Content-Security-Policy"]
    assert handed[2] == SSO_QUERY["receive_url"]
    client = Client(person.session, person.simulator)
    body = {"session_id": handed[3]}
    answer = await client.call("POST", "/platform/sso/token", body)
    assert answer.json["user"]["email"] == "platform@example.com"


async def test_a_hand_over_cannot_break_out_of_its_script(person: Person) -> None:
    """An address that holds the end of a script stays data."""
    receive_url = "http://localhost:9/</script><script>alert(1)</script>"
    page = await person.visit("/sso/login", client_key="platform-client-key", receive_url=receive_url)
    page = await person.sign_in(page, "platform")
    assert page.status == 200
    assert page.body.count(b"</script>") == 1


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"client_key": "plain-client-key"}, 403),
        ({"client_key": "nobody"}, 400),
        ({"receive_url": "https://evil.example/receive-session"}, 400),
        ({"receive_url": ""}, 400),
    ],
)
async def test_sso_is_for_platform_partners_and_their_pages(
    person: Person, changes: dict[str, str], status: int
) -> None:
    """A plain partner, an unknown one and an unknown page get no single sign-on."""
    assert (await person.visit("/sso/login", **{**SSO_QUERY, **changes})).status == status
