"""Known secrets are planted, and then looked for in all that is shown."""

import base64
import logging
import pickle
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest

from gotsurge_async import Credentials, FileStore, GotSurge, RetryPolicy, Secret
from gotsurge_async.auth.oauth import tokens_from
from gotsurge_async.hooks import Event
from gotsurge_async.simulator import Fault, Simulator
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response
from gotsurge_async.transports.memory import MemoryTransport
from tests.support.orders import NOW, answer, order

from .test_operations import ROWS

CLIENT_KEY = "planted-client-key"
SECRET_KEY = "PLANTED/secret?key"
CODE = "PLANTED&authorization=code"
BEARER = "PLANTED.bearer.token"
REFRESH = "PLANTED+refresh/token"
SESSION = "PLANTED session id"
SIGNATURES = [
    base64.b64encode(f"{CLIENT_KEY}:{SECRET_KEY}".encode()).decode(),
    base64.urlsafe_b64encode(f"{CLIENT_KEY}:{SECRET_KEY}".encode()).decode(),
]
NAMES = {
    "code": CODE,
    "session": SESSION,
    "refresh": REFRESH,
    "task": "11111111-2222-4333-8444-555555555555",
    "org": "o",
    "role": "r",
    "rev": "0-1a2b3c4d",
}


def forms() -> Iterator[str]:
    """Every secret in every way in which it might be written."""
    for secret in (SECRET_KEY, CODE, BEARER, REFRESH, SESSION, *SIGNATURES, SIGNATURES[0].rstrip("=")):
        yield from {secret, quote(secret, safe=""), quote(secret), secret.replace("/", "\\/")}


def shown_of(error: BaseException) -> str:
    """All that an error says: itself, its attributes, its causes, the traceback, and its pickle."""
    parts = [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
    return "".join(parts) + pickle.dumps(error).decode("latin-1")


def check(text: str) -> None:
    """Fail on the first secret that stands in the text, in any form."""
    for form in forms():
        assert form not in text, f"{form} was shown: …{text[max(0, text.find(form) - 200) :][:400]}…"


class Shown:
    """What is shown in the course of a flow."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        logging.getLogger("gotsurge_async").setLevel(logging.DEBUG)
        self._caplog = caplog
        self._parts: list[str] = []

    def add(self, value: object) -> None:
        self._parts.append(repr(value))

    def listen(self, event: Event) -> None:
        self._parts.append(repr(event))

    async def attempt(self, call: Awaitable[Any]) -> None:
        """Make a call, and note what it shows, whether it succeeds or fails."""
        try:
            self.add(await call)
        except Exception as error:
            self._parts.append(shown_of(error))

    def check(self) -> None:
        """Look for every secret in the logs, and in all that was noted."""
        assert self._caplog.records
        check(self._caplog.text)
        for record in self._caplog.records:
            check(f"{record.getMessage()} {record.args!r} {record.exc_text}")
        check("\n".join(self._parts))


def echoes(request: Request) -> str:
    """Everything that was sent, as text."""
    return f"{request.method} {request.url} {dict(request.headers)} {(request.body or b'').decode()}"


def refuses(status: int) -> Callable[[Request], Response]:
    """A service that says no, and quotes all that it was sent."""
    return lambda request: answer({"message": echoes(request)}, status)


def mumbles(request: Request) -> Response:
    """A service whose successes are none, and hold all that it was sent."""
    return unreadable([[echoes(request)]])


def parrots(request: Request) -> Response:
    """A service whose successes are none, and hold the token."""
    return unreadable({"b": request.headers.get("Authorization", "")})


def unreadable(echo: object) -> Response:
    """Something else in every place where something is read."""
    fields = ("id", "tasks", "organization", "organizations", "roles", "bearer_token", "code", "updated_tasks")
    return answer(dict.fromkeys(fields, echo) | {"message": echo, "total_fee": echo})


def gibbers(request: Request) -> Response:
    """A service that answers with text, all that it was sent in it."""
    return answer(f"<html><title>Error</title>{echoes(request)}".encode())


def lost(_: Request) -> Response:
    """No answer."""
    raise MaybeSent("the connection broke")


def unreached(_: Request) -> Response:
    """No connection."""
    raise NothingSent("refused")


SERVICES = {
    "refuses": refuses(400),
    "knows nobody": refuses(401),
    "finds nothing": refuses(404),
    "fails": refuses(500),
    "mumbles": mumbles,
    "parrots": parrots,
    "gibbers": gibbers,
    "loses": lost,
    "is down": unreached,
}


@pytest.mark.parametrize("service", SERVICES)
async def test_calls_that_fail(service: str, caplog: pytest.LogCaptureFixture) -> None:
    """However a call fails, and whatever the service quotes of it, no secret stands in the logs or in the error."""
    shown = Shown(caplog)
    for row in ROWS:
        async with GotSurge(
            "local",
            api_base="http://127.0.0.1:1/api/partnership/v1",
            credentials=Credentials(client_key=CLIENT_KEY, secret_key=SECRET_KEY),
            bearer_token=BEARER,
            refresh_token=REFRESH,
            transport=MemoryTransport(SERVICES[service]),
            clock=ManualClock(),
            retry=RetryPolicy(attempts=2, base=0.0, cap=0.0),
            hooks=[shown.listen],
        ) as gs:
            await shown.attempt(row.call(gs, NAMES))
    shown.check()


@pytest.mark.parametrize("status", [200, 400, 404, 500])
async def test_all_secrets_are_hidden_in_all_answers(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever call it is, no secret of the client is shown that the service quotes: not only those of that call."""
    shown = Shown(caplog)

    def service(request: Request) -> Response:
        if request.url.endswith("/refresh"):
            return answer({"bearer_token": BEARER, "refresh_token": REFRESH})
        if "planted-old-bearer" in request.headers.get("Authorization", ""):
            return answer({}, 401)
        text = f"{SECRET_KEY} {SIGNATURES} {BEARER} {REFRESH} planted-old-bearer planted-old-refresh"
        return answer({"error": text, "id": [text], "code": "error"}, status, x_request_id=BEARER, cf_ray=BEARER)

    async with GotSurge(
        "local",
        api_base="http://127.0.0.1:1/api/partnership/v1",
        credentials=Credentials(client_key=CLIENT_KEY, secret_key=SECRET_KEY),
        bearer_token="planted-old-bearer",
        refresh_token="planted-old-refresh",
        transport=MemoryTransport(service),
        clock=ManualClock(),
        retry=RetryPolicy(attempts=1),
        hooks=[shown.listen],
    ) as gs:
        await shown.attempt(gs.tasks.get("t"))  # gets new tokens
        for row in ROWS:
            if row.operation not in ("auth.exchange", "auth.refresh"):
                await shown.attempt(row.call(gs, NAMES))
    shown.check()
    assert "planted-old" not in "".join(shown._parts) + caplog.text


async def test_the_echo_would_be_found() -> None:
    """The search finds what it looks for: a service that echoes does send the secrets back."""
    transport = MemoryTransport(refuses(400))
    keys = Credentials(client_key=CLIENT_KEY, secret_key=SECRET_KEY)
    async with GotSurge(
        "local", api_base="http://127.0.0.1:1/x", credentials=keys, bearer_token=BEARER, transport=transport
    ) as gs:
        for call in (gs.tasks.get("t"), gs.oauth.exchange(CODE), gs.partner.detail()):
            with suppress(Exception):
                await call
        found = "".join(map(echoes, transport.sent))
    for secret in (BEARER, SECRET_KEY, CODE, quote(SIGNATURES[0], safe="")):
        with pytest.raises(AssertionError, match="was shown"):
            check(found[found.find(secret) :][: len(secret)])


async def test_a_day_over_http(caplog: pytest.LogCaptureFixture, tmp_path: Any) -> None:
    """Signing in, calling, failing, renewing and closing show none of the real secrets, nor does any object's repr."""
    shown = Shown(caplog)
    clock = ManualClock()
    async with Simulator(clock=clock) as simulator:
        keys = simulator.accounts["platform"]
        store = FileStore(tmp_path / "tokens.json")
        credentials = Credentials(client_key=keys.client_key, secret_key=keys.secret_key)
        async with GotSurge(
            "local",
            api_base=simulator.api_base,
            credentials=credentials,
            token_store=store,
            clock=clock,
            retry=RetryPolicy(attempts=2, base=0.0, cap=0.0),
            hooks=[shown.listen],
        ) as gs:
            code, session = simulator.new_code("platform"), simulator.new_session("platform")
            await gs.sign_in(code)
            await shown.attempt(gs.sign_in(code))  # a second time: refused
            await shown.attempt(gs.sso.exchange(session))
            await shown.attempt(gs.partner.detail())
            await shown.attempt(gs.tasks.create([order()]))
            first = await gs.tokens.bearer()
            gs.tokens.invalidate(first)
            await shown.attempt(gs.tasks.get("nobody"))
            simulator.order_fault(Fault(operation="tasks.create", kind="reset", when="after"))
            await shown.attempt(gs.tasks.create([order()]))
            second = await gs.tokens.bearer()
            tokens = await store.load("default")
            simulator.revoke("platform")
            await shown.attempt(gs.tasks.get("nobody"))
            for value in (gs, gs.oauth, gs.tokens, gs.session, gs.partner, gs.platform, credentials, store, tokens):
                shown.add(value)
            shown.add(vars(gs))
            shown.add(simulator.accounts)
    assert tokens is not None
    assert tokens.refresh is not None
    signature = base64.b64encode(f"{keys.client_key}:{keys.secret_key}".encode()).decode()
    texts = "\n".join([*shown._parts, caplog.text])
    for secret in (first.reveal(), second.reveal(), tokens.refresh.reveal(), keys.secret_key, code, session, signature):
        assert secret not in texts
    assert first != second


def test_tokens_do_not_show_themselves() -> None:
    """Tokens and secrets are masked in reprs and in formatted text, and are not pickled."""
    tokens = tokens_from(BEARER, refresh=REFRESH, issued_at=NOW)
    check(f"{tokens} {tokens!r} {Secret(CODE)} {[Secret(CODE)]}")
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(tokens)
