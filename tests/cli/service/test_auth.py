import asyncio
import json
import socket
import stat
import sys
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest

from gotsurge_async import GotSurge
from gotsurge_async.auth.sealing import Sealer, read_keys
from gotsurge_async.auth.stores import FileStore, Tokens
from gotsurge_async.cli.service import auth
from gotsurge_async.config import Credentials, Environment
from gotsurge_async.errors import SignInFailed
from gotsurge_async.secrets import Secret
from gotsurge_async.simulator import Simulator
from tests.support.browser import Pages, consent
from tests.support.commands import Finished, gotsurge, start, write_orders

pytestmark = pytest.mark.slow  # a process or more for each test

ROOT = Path(__file__).parents[3]
SECRETS = ("plain-secret-key", "plain-password")
TOKENS = Tokens(
    bearer=Secret("planted-bearer"),
    refresh="planted-refresh",
    issued_at=datetime(2026, 1, 1, tzinfo=UTC),
    expires_at=datetime(2026, 2, 1, tzinfo=UTC),
)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


class Person:
    """Somebody at a terminal, with a home of their own."""

    def __init__(self, home: Path, simulator: Simulator) -> None:
        self.home = home
        self.simulator = simulator
        self.tokens = home / "config" / "tokens.json"
        self.config = home / "config" / "config.toml"
        self.keys = {"GOTSURGE_CLIENT_KEY": "plain-client-key", "GOTSURGE_SECRET_KEY": "plain-secret-key"}

    def variables(self, how: str = "allow") -> dict[str, str]:
        return {
            "GOTSURGE_TOKEN_FILE": str(self.tokens),
            "GOTSURGE_CONFIG_FILE": str(self.config),
            "XDG_DATA_HOME": str(self.home / "data"),
            "BROWSER": f"{sys.executable} -m tests.support.browser {how} %s",
            "PYTHONPATH": str(ROOT),
        }

    async def runs(
        self, *words: str, how: str = "allow", env: Mapping[str, str] | None = None, stdin: bytes = b""
    ) -> Finished:
        """Run ``gotsurge WORDS --env local --api-base …``."""
        finished = await gotsurge(
            *(*words, "--env", "local", "--api-base", self.simulator.api_base),
            cwd=self.home,
            stdin=stdin,
            env={**self.variables(how), **(self.keys if env is None else env)},
        )
        for secret in (*SECRETS, *self.secrets()):
            assert secret not in finished.out + finished.err
        return finished

    def secrets(self) -> list[str]:
        """The tokens in the file, if there is one that is not encrypted."""
        if not self.tokens.exists():
            return []
        records = json.loads(self.tokens.read_text()).values()
        return [record[name] for record in records for name in ("bearer_token", "refresh_token") if name in record]


@pytest.fixture
def person(tmp_path: Path, simulator: Simulator) -> Person:
    return Person(tmp_path, simulator)


async def test_a_login_keeps_the_tokens(person: Person) -> None:
    """After the consent in a browser the tokens are in a file of the user's own, and `auth login` says until when."""
    done = await person.runs("auth", "login", "--json")
    assert done.code == 0, done.err
    assert done.document["state"] == "signed in"
    assert done.document["renews_itself"] is True
    assert stat.S_IMODE(person.tokens.stat().st_mode) == 0o600
    assert stat.S_IMODE(person.tokens.parent.stat().st_mode) == 0o700
    assert [path.name for path in person.tokens.parent.iterdir()] == ["tokens.json"]


async def test_a_login_lasts_for_a_push(person: Person) -> None:
    """After a login a push needs no credentials in its environment: it sends with the tokens that are kept."""
    assert (await person.runs("auth", "login")).code == 0
    orders = write_orders(person.home / "orders.csv", range(3))
    calls = person.simulator.audit()["calls"]
    pushed = await person.runs("push", str(orders), env={})
    assert pushed.code == 0, pushed.err
    assert person.simulator.audit()["tasks"] == 3
    assert person.simulator.audit()["calls"]["auth.exchange"] == calls["auth.exchange"] == 1


async def test_what_is_kept_is_reported(person: Person) -> None:
    """`auth status` and `auth accounts` show who is signed in, with exit code 0, and 4 when nobody is."""
    assert (await person.runs("auth", "status")).code == 4
    assert (await person.runs("auth", "login", "--account", "acme")).code == 0
    status = await person.runs("auth", "status", "--account", "acme")
    assert (status.code, "/acme: signed in until" in status.out) == (0, True)
    assert (await person.runs("auth", "status")).code == 4
    listed = await gotsurge("auth", "accounts", "--json", cwd=person.home, env=person.variables())
    (only,) = listed.document["accounts"]
    assert only["account"].endswith("/acme")


@pytest.mark.parametrize("name", ["GOTSURGE_BEARER_TOKEN", "GOTSURGE_REFRESH_TOKEN"])
async def test_a_token_of_the_environment_is_reported(person: Person, name: str) -> None:
    """`auth status` tells of the token that a push would use: that of the environment before what is kept."""
    given = {name: "planted-token"}
    status = await person.runs("auth", "status", env=given)
    assert (status.code, f"uses the token of {name}" in status.out) == (0, True)
    assert "planted" not in status.out + status.err
    document = (await person.runs("auth", "status", "--json", env=given)).document
    assert (document["state"], document["given_by"]) == ("given", [name])
    assert document["renews_itself"] is (name == "GOTSURGE_REFRESH_TOKEN")


async def test_a_profile_that_leads_elsewhere_is_reported(person: Person) -> None:
    """Who has tokens of sandbox and a profile with another host reads where they go, before they do."""
    profile = person.home / "profile.toml"
    profile.write_text(f'api_base = "{person.simulator.api_base}"\n')
    token = {"GOTSURGE_BEARER_TOKEN": "planted-token", "GOTSURGE_PROFILE": str(profile)}
    words = ("tasks", "get", "00000000-0000-4000-8000-000000000001", "--env", "sandbox")
    done = await gotsurge(*words, cwd=person.home, env={**person.variables(), **token})
    said = "note: calls and tokens of sandbox go to 127.0.0.1, as the profile says, not to staging.gotsurge.co"
    assert said in done.err
    named = await gotsurge(
        *words, "--api-base", person.simulator.api_base, cwd=person.home, env={**person.variables(), **token}
    )
    assert "note:" not in named.err


async def test_a_refresh_by_hand(person: Person) -> None:
    """`auth refresh` gets a new token, and stores it."""
    await person.runs("auth", "login")
    before = person.secrets()
    assert (await person.runs("auth", "refresh")).code == 0
    assert person.secrets()[0] != before[0]
    assert person.simulator.audit()["calls"]["auth.refresh"] == 1


async def test_a_dead_refresh_token_is_a_state(person: Person) -> None:
    """When the user has withdrawn consent, `auth refresh` and then `auth status` say so, with exit code 4."""
    await person.runs("auth", "login")
    person.simulator.revoke("plain")
    assert (await person.runs("auth", "refresh")).code == 4
    status = await person.runs("auth", "status")
    assert status.code == 4
    assert "the renewal was refused" in status.out
    assert "gotsurge auth logout --env local" in status.out
    assert (await person.runs("auth", "login")).code == 0
    assert (await person.runs("auth", "status")).code == 0


async def test_a_push_without_consent_keeps_its_orders(person: Person) -> None:
    """When consent is withdrawn a push ends with exit code 4 and its orders pending; after a login they are created."""
    await person.runs("auth", "login")
    orders = write_orders(person.home / "orders.csv", range(50))
    person.simulator.revoke("plain")
    stopped = await person.runs("push", str(orders), "--mode", "direct", "--json")
    assert stopped.code == 4, stopped.err
    assert (stopped.document["created"], stopped.document["unprocessed"], stopped.document["in_doubt"]) == (0, 50, 0)
    assert "sign in again" in stopped.err
    assert (await person.runs("auth", "login")).code == 0
    pushed = await person.runs("push", str(orders), "--json")
    assert (pushed.code, pushed.document["created"]) == (0, 50), pushed.err
    assert person.simulator.audit()["tasks"] == 50


async def test_a_logout_forgets(person: Person) -> None:
    """After `auth logout` nothing of the tokens is left in the file."""
    await person.runs("auth", "login")
    bearer, refresh = person.secrets()
    assert (await person.runs("auth", "logout")).code == 0
    assert bearer not in person.tokens.read_text()
    assert refresh not in person.tokens.read_text()
    assert (await person.runs("auth", "status")).code == 4


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("refuse", "did not grant access: The user refused"),
        ("tamper", "the sign-in was not completed within 2 s"),
        ("close", "the sign-in was not completed within 2 s"),
    ],
)
async def test_a_login_that_fails_has_a_clear_end(person: Person, how: str, said: str) -> None:
    """A refusal, another state and a closed window end with exit code 4 and a sentence, and nothing is kept."""
    done = await person.runs("auth", "login", "--timeout", "60" if how == "refuse" else "2", how=how)
    assert done.code == 4
    assert said in done.err
    assert not person.tokens.exists()
    assert person.simulator.audit()["calls"].get("auth.exchange", 0) == 0


async def test_strangers_do_not_end_a_login(person: Person) -> None:
    """What comes to the callback without the state, or under another host, is refused and not shown."""
    done = await person.runs("auth", "login", how="strangers")
    assert done.code == 0, done.err
    assert "555" not in done.out + done.err
    assert person.simulator.audit()["calls"]["auth.exchange"] == 1


async def test_a_login_without_a_browser(person: Person) -> None:
    """With --no-browser the page's address is printed, and the address that the browser came back to is taken."""
    process = await start(
        *("auth", "login", "--no-browser", "--env", "local", "--api-base", person.simulator.api_base),
        cwd=person.home,
        env={**person.variables(), **person.keys},
    )
    assert process.stderr is not None
    assert process.stdin is not None
    url = ""
    while not url.startswith("http"):
        line = await process.stderr.readline()
        assert line
        url = line.decode().strip()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        back = await consent(Pages(session), url)
    assert dict(parse_qsl(urlsplit(back).query)).keys() == {"code", "state"}
    out, err = await process.communicate(f"{back}\n".encode())
    assert process.returncode == 0, err.decode()
    assert b"signed in until" in out


@pytest.mark.parametrize("pasted", ["http://127.0.0.1/callback?code=x", "nonsense", "http://x/?code=a&state=b"])
async def test_a_pasted_address_is_checked(person: Person, pasted: str) -> None:
    """An address without the state of this login is refused, and its code is not exchanged."""
    done = await person.runs("auth", "login", "--no-browser", stdin=f"{pasted}\n".encode())
    assert done.code == 4
    assert person.simulator.audit()["calls"].get("auth.exchange", 0) == 0


async def test_credentials_of_the_configuration_file(person: Person) -> None:
    """Credentials are taken from config.toml, unless others may read it."""
    person.config.parent.mkdir()
    person.config.write_text('[local]\nclient_key = "plain-client-key"\nsecret_key = "plain-secret-key"\n')
    person.config.chmod(0o644)
    refused = await person.runs("auth", "login", env={})
    assert refused.code == 2
    assert "chmod 600" in refused.err
    person.config.chmod(0o600)
    assert (await person.runs("auth", "login", env={})).code == 0


async def test_credentials_are_asked_for(person: Person) -> None:
    """Without any they are asked for; the client key is remembered for renewing, the secret key is not."""
    done = await person.runs("auth", "login", env={}, stdin=b"plain-client-key\nplain-secret-key\n")
    assert done.code == 0, done.err
    assert "plain-client-key" in person.config.read_text()
    assert "plain-secret-key" not in person.config.read_text()
    assert stat.S_IMODE(person.config.stat().st_mode) == 0o600
    assert (await person.runs("auth", "refresh", env={})).code == 0


async def test_keys_rotate(person: Person) -> None:
    """`auth rotate-key` encrypts what is kept, and again with another key; the tokens stay what they were."""
    await person.runs("auth", "login")
    secrets = person.secrets()
    for accounts in (1, 1):
        rotated = await gotsurge("auth", "rotate-key", "--json", cwd=person.home, env=person.variables())
        assert rotated.code == 0, rotated.err
        assert rotated.document["accounts"] == accounts
        assert not any(secret in person.tokens.read_text() for secret in secrets)
        assert (await person.runs("auth", "refresh")).code == 0
    keys = person.home / "data" / "gotsurge" / "token-keys"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert len(keys.read_text().split()) == 2


async def test_rotations_at_once_lose_nothing(person: Person) -> None:
    """When several rotate the key at the same time every account can be read afterwards, and no key is gone."""
    store = FileStore(person.tokens)
    for name in ("a", "b"):
        await store.save(name, TOKENS)
    for rounds in (1, 2):
        rotations = [gotsurge("auth", "rotate-key", cwd=person.home, env=person.variables()) for _ in range(3)]
        assert [(done.code, done.err) for done in await asyncio.gather(*rotations) if done.code] == []
        keys = read_keys(person.home / "data" / "gotsurge" / "token-keys")
        assert len(set(keys)) == 3 * rounds
        sealed = FileStore(person.tokens, sealer=Sealer(keys[:1]))
        assert [await sealed.load(name) for name in ("a", "b")] == [TOKENS, TOKENS]


async def test_a_rotation_serves_every_store_of_the_key_file(person: Person) -> None:
    """Rotating the key for a token file takes no key from the tokens in a database, however often it is done."""
    database = {"GOTSURGE_TOKEN_STORE": f"sqlite:///{person.home / 'tokens.db'}"}

    async def rotate(**store: str) -> None:
        done = await gotsurge("auth", "rotate-key", cwd=person.home, env={**person.variables(), **store})
        assert done.code == 0, done.err

    await rotate(**database)
    assert (await person.runs("auth", "login", env={**person.keys, **database})).code == 0
    for _ in range(3):
        await rotate()
    assert (await person.runs("auth", "status", env=database)).code == 0


async def test_a_rotation_names_what_it_cannot_read(person: Person) -> None:
    """With a damaged account nothing is changed, neither keys nor tokens, and the error names the account."""
    await FileStore(person.tokens).save("good", TOKENS)
    rotate = ("auth", "rotate-key")
    assert (await gotsurge(*rotate, cwd=person.home, env=person.variables())).code == 0
    content = json.loads(person.tokens.read_text())
    person.tokens.write_text(json.dumps({**content, "acme": {"sealed": "gAAAA"}}))
    keys = person.home / "data" / "gotsurge" / "token-keys"
    before = (keys.read_bytes(), person.tokens.read_bytes())
    for _ in range(2):
        refused = await gotsurge(*rotate, cwd=person.home, env=person.variables())
        assert refused.code == 2
        assert "account acme in the token file" in refused.err
    assert (keys.read_bytes(), person.tokens.read_bytes()) == before


async def test_a_keyring_has_no_key_to_rotate(person: Person) -> None:
    """With tokens in a keyring `rotate-key` is refused, and makes no key."""
    store = {"GOTSURGE_TOKEN_STORE": "keyring"}
    refused = await gotsurge("auth", "rotate-key", cwd=person.home, env={**person.variables(), **store})
    assert refused.code == 2
    assert not (person.home / "data" / "gotsurge" / "token-keys").exists()


async def test_tokens_in_a_database(person: Person) -> None:
    """With GOTSURGE_TOKEN_STORE the tokens are in a database, encrypted; without a key nothing is kept there."""
    database = person.home / "tokens.db"
    store = {"GOTSURGE_TOKEN_STORE": f"sqlite+aiosqlite:///{database}"}
    refused = await person.runs("auth", "login", env={**person.keys, **store})
    assert refused.code == 2
    assert "rotate-key" in refused.err
    made = await gotsurge("auth", "rotate-key", cwd=person.home, env={**person.variables(), **store})
    assert made.code == 0, made.err
    assert (await person.runs("auth", "login", env={**person.keys, **store})).code == 0
    assert (await person.runs("auth", "status", env=store)).code == 0
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    assert b"bearer" not in database.read_bytes()


async def test_a_login_can_be_interrupted(person: Person) -> None:
    """Ctrl-C while the browser is open ends the command with exit code 130."""
    process = await start(
        *("auth", "login", "--env", "local", "--api-base", person.simulator.api_base),
        cwd=person.home,
        env={**person.variables("close"), **person.keys},
    )
    assert process.stderr is not None
    await process.stderr.readline()
    process.send_signal(2)
    _, err = await process.communicate()
    assert process.returncode == 130, err
    assert b"Traceback" not in err


async def test_a_request_that_is_held_open_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any page in the browser can begin a request and never end it: the command ends two seconds later all the same."""
    held: list[socket.socket] = []
    with socket.create_server((auth.HOST, 0)) as free:
        port = free.getsockname()[1]

    def hold(_: str) -> bool:
        held.append(socket.create_connection((auth.HOST, port)))
        held[0].sendall(b"POST /callback HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        return True

    monkeypatch.setattr(auth.webbrowser, "open", hold)
    credentials = Credentials(client_key="key", secret_key=Secret("secret"))
    gs = GotSurge(Environment.named("local", api_base="http://127.0.0.1:9/api"), credentials=credentials)
    began = time.monotonic()
    try:
        with pytest.raises(SignInFailed, match="the sign-in was not completed"):
            await auth.sign_in_with_browser(gs.oauth, "plain", port=port, timeout=0.5)
    finally:
        await gs.close()
        held[0].close()
    assert time.monotonic() - began < 6
