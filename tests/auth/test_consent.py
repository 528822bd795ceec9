from urllib.parse import parse_qs, urlsplit

import pytest

from gotsurge_async.auth.consent import MOST_USED, STATE_LIFE, Consent
from gotsurge_async.config import Credentials
from gotsurge_async.errors import BadRequest, ConfigError, SignInFailed
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import Request, Response
from gotsurge_async.transports.memory import MemoryTransport
from tests.auth import kit

TOKENS = b'{"bearer_token": "planted-bearer", "refresh_token": "planted-refresh"}'


class Rig:
    """A consent flow with its clock, and what it sent."""

    def __init__(self, state_key: str | None = None) -> None:
        self.clock = ManualClock()
        self.status = 200
        self.transport = MemoryTransport(self._answer)
        keys = Credentials(client_key="key", secret_key="planted-secret")
        oauth = kit.oauth(self.transport, self.clock, credentials=keys)
        self.consent = Consent(oauth, "https://example.com/callback", state_key=state_key)

    def _answer(self, _: Request) -> Response:
        return Response(status=self.status, body=TOKENS if self.status == 200 else b'{"error": "no planted-code"}')


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def fails(rig: Rig, reason: str, query: dict[str, str], browser: str = "") -> None:
    """A redirect with this query ends the sign-in, and no code is exchanged."""
    with pytest.raises(SignInFailed) as raised:
        await rig.consent.finish(query, browser=browser)
    assert raised.value.reason == reason
    assert not rig.transport.sent


async def test_a_consent_ends_in_tokens(rig: Rig) -> None:
    """The URL carries client key, redirect and state; with that state and a code the tokens of the account come."""
    begun = await rig.consent.begin("acme", browser="cookie")
    parts = urlsplit(begun.url)
    assert (parts.netloc, parts.path) == ("staging.gotsurge.co", "/oauth2/auth")
    assert parse_qs(parts.query) == {
        "client_key": ["key"],
        "redirect_url": ["https://example.com/callback"],
        "state": [begun.state],
    }
    done = await rig.consent.finish({"state": begun.state, "code": "c"}, browser="cookie")
    assert (done.account, done.tokens.bearer.reveal()) == ("acme", "planted-bearer")


async def test_states_are_good_once_and_all_different(rig: Rig) -> None:
    """A state is random, long, and known no more after its first use, whatever came of it."""
    first, second = await rig.consent.begin(), await rig.consent.begin()
    assert first.state != second.state
    assert len(first.state) >= 43
    await fails(rig, "code", {"state": first.state})
    await fails(rig, "state", {"state": first.state, "code": "c"})
    await rig.consent.finish({"state": second.state, "code": "c"})


@pytest.mark.parametrize("browser", ["", "another"])
async def test_a_state_of_another_browser_is_refused(rig: Rig, browser: str) -> None:
    """A state that was given to one browser is refused from another."""
    begun = await rig.consent.begin(browser="cookie")
    await fails(rig, "state", {"state": begun.state, "code": "c"}, browser)


async def test_beginning_many_displaces_no_other() -> None:
    """However many consents strangers begin, and even end, one that began before them can be finished."""
    rig = Rig()
    begun = await rig.consent.begin("acme", browser="cookie")
    for number in range(MOST_USED + 200):
        strange = await rig.consent.begin(browser=str(number))
        if number % 100 == 0:
            await fails(rig, "code", {"state": strange.state}, str(number))
    assert (await rig.consent.finish({"state": begun.state, "code": "c"}, browser="cookie")).account == "acme"


async def test_a_signed_state_cannot_be_changed() -> None:
    """A state with any character changed, cut, or signed by another process is refused."""
    rig = Rig()
    begun = await rig.consent.begin("acme")
    state = begun.state
    for place in range(len(state) - 1):
        changed = state[:place] + ("A" if state[place] != "A" else "B") + state[place + 1 :]
        await fails(rig, "state", {"state": changed, "code": "c"})
    for wrong in (state[:40], state[:-4], state + "AAAA", "A" * 80, (await Rig().consent.begin()).state):
        await fails(rig, "state", {"state": wrong, "code": "c"})
    assert (await rig.consent.finish({"state": state, "code": "c"})).account == "acme"
    rig.transport.sent.clear()
    await fails(rig, "state", {"state": f"{state[:8]}!{state[8:]}==", "code": "c"})


async def test_a_state_times_out(rig: Rig) -> None:
    """A consent that took longer than its life is refused; one that took less is not."""
    late, early = await rig.consent.begin(), await rig.consent.begin()
    await rig.clock.advance(STATE_LIFE.total_seconds() - 1)
    await rig.consent.finish({"state": early.state, "code": "c"})
    rig.transport.sent.clear()
    await rig.clock.advance(1)
    await fails(rig, "timeout", {"state": late.state, "code": "c"})


@pytest.mark.parametrize("query", [{}, {"state": ""}, {"state": "x", "code": "c"}, {"code": "c"}, {"state": "\ud800"}])
async def test_a_redirect_without_a_state_is_refused(rig: Rig, query: dict[str, str]) -> None:
    """Without a state of ours nothing is exchanged."""
    await rig.consent.begin()
    await fails(rig, "state", query)


async def test_a_refusal_is_reported(rig: Rig) -> None:
    """A refusal says what GotSurge said, cleaned; with a state that is not ours it is not believed."""
    begun = await rig.consent.begin()
    with pytest.raises(SignInFailed, match=r"did not grant access: no thanks$"):
        await rig.consent.finish({"state": begun.state, "error": "x", "error_description": "no\x1b thanks\n"})
    await fails(rig, "state", {"error": "access_denied", "state": "another"})


async def test_a_strangers_refusal_is_not_quoted(rig: Rig) -> None:
    """What a refusal without a state says, or one with a state of another browser, is not shown as GotSurge's words."""
    says = {"error": "x", "error_description": "call 555"}
    begun = await rig.consent.begin(browser="a stranger's")
    for query, reason in ((says, "refused"), (says | {"state": begun.state}, "state")):
        with pytest.raises(SignInFailed) as raised:
            await rig.consent.finish(query, browser="cookie")
        assert (raised.value.reason, "555" in str(raised.value)) == (reason, False)


async def test_a_code_that_is_refused_is_the_services_error(rig: Rig) -> None:
    """What the service says to the exchange is raised as it is, without code or secret."""
    rig.status = 400
    begun = await rig.consent.begin()
    with pytest.raises(BadRequest) as raised:
        await rig.consent.finish({"state": begun.state, "code": "planted-code"})
    assert "planted" not in str(raised.value) + repr(vars(raised.value))


async def test_a_repr_shows_no_secret() -> None:
    """Neither the state nor the key that signs it."""
    rig = Rig("planted" * 10)
    begun = await rig.consent.begin()
    assert begun.state not in repr(begun)
    assert "planted" not in repr(vars(rig.consent))


async def test_processes_share_a_key() -> None:
    """A consent that one process began is finished by another one with the same key; a short key is refused."""
    begun = await Rig("k" * 32).consent.begin("acme", browser="cookie")
    done = await Rig("k" * 32).consent.finish({"state": begun.state, "code": "c"}, browser="cookie")
    assert done.account == "acme"
    with pytest.raises(ConfigError, match="32 characters"):
        Rig("k" * 31)


async def test_memory_is_bounded(rig: Rig) -> None:
    """However many consents are finished, only the newest are remembered."""
    for _ in range(MOST_USED + 5):
        await fails(rig, "code", {"state": (await rig.consent.begin()).state})
    assert len(rig.consent._used) == MOST_USED
