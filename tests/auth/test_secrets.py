"""No secret of a sign-in shows: in files' modes, logs, reprs, tracebacks, pickles, or what commands print."""

import logging
import pickle
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async import Credentials, Environment, GotSurge, Sealer, SignInNeeded
from gotsurge_async.auth.consent import Begun, Finished
from gotsurge_async.auth.sealing import new_key
from gotsurge_async.auth.sign_on import SignedIn
from gotsurge_async.auth.stores import FileStore, MemoryStore, Tokens
from gotsurge_async.auth.web.pages import WebAnswer, WebRequest
from gotsurge_async.errors import BadRequest
from gotsurge_async.secrets import Secret
from gotsurge_async.simulator import Fault, Simulator

PLANTED = "planted"


def tokens() -> Tokens:
    """Tokens with texts that a test can look for."""
    now = datetime.now(UTC)
    return Tokens(
        bearer=Secret(f"{PLANTED}-bearer"),
        refresh=f"{PLANTED}-refresh",
        issued_at=now,
        expires_at=now + timedelta(days=30),
    )


HOLDERS: dict[str, Any] = {
    "tokens": tokens(),
    "signed in": SignedIn(tokens=tokens()),
    "begun": Begun(url=f"https://h/?state={PLANTED}", state=PLANTED),
    "finished": Finished(account="a", tokens=tokens()),
    "credentials": Credentials(client_key="key", secret_key=f"{PLANTED}-secret"),
    "request": WebRequest(method="GET", query={"code": PLANTED}, headers={"cookie": PLANTED}, body=PLANTED.encode()),
    "answer": WebAnswer(status=200, headers=(("Set-Cookie", PLANTED),), body=PLANTED.encode()),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_no_repr_shows_a_secret(name: str) -> None:
    """Whatever holds a secret hides it in repr and str."""
    assert PLANTED not in repr(HOLDERS[name]) + str(HOLDERS[name])


@pytest.mark.parametrize("name", ["tokens", "signed in", "finished", "credentials"])
def test_no_pickle_holds_a_secret(name: str) -> None:
    """What holds a secret refuses to be pickled."""
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(HOLDERS[name])


async def test_a_file_is_sealed_from_one_day_on(tmp_path: Path) -> None:
    """What stands in clear is read by a store with a sealer until `reseal`; one without says that it is encrypted."""
    path = tmp_path / "tokens.json"
    kept = tokens()
    await FileStore(path).save("a", kept)
    sealed = FileStore(path, sealer=Sealer([new_key()]))
    assert await sealed.load("a") == kept
    assert (await sealed.reseal(), await sealed.reseal()) == (1, 0)
    assert PLANTED not in path.read_text()
    with pytest.raises(Exception, match="encrypted"):
        await FileStore(path).load("a")


async def test_no_log_and_no_traceback_shows_a_secret(simulator: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    """At every log level, through a sign-in, a renewal, failures and a withdrawn consent, no secret is written."""
    caplog.set_level(logging.DEBUG)
    keys = simulator.accounts["plain"]
    store = MemoryStore()
    code = simulator.new_code("plain")
    events: list[str] = []
    async with GotSurge(
        Environment.named("local", api_base=simulator.api_base),
        credentials=Credentials(client_key=keys.client_key, secret_key=keys.secret_key),
        token_store=store,
        hooks=[lambda event: events.append(repr(event))],
    ) as gs:
        await gs.sign_in(code)
        secrets = [keys.secret_key, code]
        for _ in range(2):
            kept = await store.load("default")
            assert kept is not None
            assert kept.refresh is not None
            secrets += [kept.bearer.reveal(), kept.refresh.reveal()]
            await gs.tokens.renew()
        with pytest.raises(BadRequest) as used:
            await gs.sign_in(code)
        simulator.order_fault(Fault(operation="auth.refresh", kind="garbage", times=1))
        await gs.tokens.renew()
        simulator.revoke("plain")
        with pytest.raises(SignInNeeded) as dead:
            await gs.tokens.renew()
    shown = caplog.text + "".join(events)
    for raised in (used, dead):
        shown += "".join(traceback.format_exception(raised.value)) + str(pickle.dumps(raised.value))
    assert "was not renewed" in shown or "sign in again" in shown
    assert not [secret for secret in secrets if secret in shown]
