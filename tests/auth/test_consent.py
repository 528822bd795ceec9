from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from gotsurge_async.auth.consent import MOST_PENDING, STATE_LIFE, Begun, Consent, MemoryStates, Pending, StateStore
from gotsurge_async.auth.sql import SqlStates, SqlStore
from gotsurge_async.config import Credentials
from gotsurge_async.errors import BadRequest, SignInFailed
from gotsurge_async.testing import START, ManualClock
from gotsurge_async.transports.base import Request, Response
from gotsurge_async.transports.memory import MemoryTransport
from tests.auth import kit

TOKENS = b'{"bearer_token": "planted-bearer", "refresh_token": "planted-refresh"}'


class Rig:
    """A consent flow with its clock, and what it sent."""

    def __init__(self, states: StateStore | None) -> None:
        self.clock = ManualClock()
        self.status = 200
        self.transport = MemoryTransport(self._answer)
        keys = Credentials(client_key="key", secret_key="planted-secret")
        oauth = kit.oauth(self.transport, self.clock, credentials=keys)
        self.consent = Consent(oauth, "https://example.com/callback", states=states)

    def _answer(self, _: Request) -> Response:
        return Response(status=self.status, body=TOKENS if self.status == 200 else b'{"error": "no planted-code"}')


@pytest.fixture(params=["signed", "memory", "sqlite"])
async def states(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StateStore | None]:
    if request.param == "signed":
        yield None
        return
    if request.param == "memory":
        yield MemoryStates()
        return
    store = SqlStore(f"sqlite:///{tmp_path / 'tokens.db'}", None)
    yield SqlStates(store)
    await store.close()


@pytest.fixture
def rig(states: StateStore | None) -> Rig:
    return Rig(states)


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
    rig = Rig(None)
    begun = await rig.consent.begin("acme", browser="cookie")
    for number in range(MOST_PENDING + 200):
        strange = await rig.consent.begin(browser=str(number))
        if number % 100 == 0:
            await fails(rig, "code", {"state": strange.state}, str(number))
    assert (await rig.consent.finish({"state": begun.state, "code": "c"}, browser="cookie")).account == "acme"


async def test_a_signed_state_cannot_be_changed() -> None:
    """A state with any character changed, cut, or signed by another process is refused."""
    rig = Rig(None)
    begun = await rig.consent.begin("acme")
    state = begun.state
    for place in range(len(state) - 1):
        changed = state[:place] + ("A" if state[place] != "A" else "B") + state[place + 1 :]
        await fails(rig, "state", {"state": changed, "code": "c"})
    for wrong in (state[:40], state[:-4], state + "AAAA", "A" * 80, (await Rig(None).consent.begin()).state):
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


async def test_nothing_is_kept_in_clear() -> None:
    """A state store learns neither the state nor what the browser holds, and a repr shows neither."""
    kept: list[tuple[str, Pending]] = []

    class Spy(MemoryStates):
        async def put(self, key: str, pending: Pending) -> None:
            kept.append((key, pending))

    begun: Begun = await Rig(Spy()).consent.begin(browser="planted-cookie")
    assert begun.state not in repr(kept) + repr(begun)
    assert "planted" not in repr(kept)


async def test_memory_is_bounded() -> None:
    """However many consents are begun and left, only the newest are remembered."""
    states = MemoryStates()
    pending = Pending(account="a", ends=START)
    for number in range(MOST_PENDING + 5):
        await states.put(str(number), pending)
    assert await states.take("4") is None
    assert await states.take("5") == pending


async def test_a_database_forgets_what_nobody_came_back_for(tmp_path: Path) -> None:
    """Consents that were left are removed from the database some time after their end."""
    store = SqlStore(f"sqlite:///{tmp_path / 'tokens.db'}", None)
    states = SqlStates(store)
    await states.put("old", Pending(account="a", ends=START))
    await states.put("new", Pending(account="a", ends=START + timedelta(hours=1)))
    assert await states.take("old") is None
    assert await states.take("new") == Pending(account="a", ends=START + timedelta(hours=1))
    await store.close()
