"""``gotsurge auth``: sign in at a terminal, and manage the tokens of this machine."""

import asyncio
import functools
import hmac
import html
import logging
import os
import sys
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import click
import msgspec
from aiohttp import web
from msgspec import Struct

from gotsurge_async.auth.consent import Consent, Finished
from gotsurge_async.auth.keychain import KeyringStore
from gotsurge_async.auth.oauth import OAuth
from gotsurge_async.auth.sealing import KEYS_VARIABLE, new_key, read_keys, read_private, write_keys, write_private
from gotsurge_async.auth.stores import FileStore, Tokens, folder_lease
from gotsurge_async.cli.afterwards.serving import listening
from gotsurge_async.cli.shared.connect import (
    Target,
    account_options,
    given_tokens,
    how_to_sign_in,
    read_settings,
)
from gotsurge_async.cli.shared.credentials import (
    account_name,
    config_file,
    find_credentials,
    in_database,
    key_file,
    open_token_store,
    read_config,
)
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.options import gathered, json_option, option
from gotsurge_async.cli.shared.output import print_one, print_table, say
from gotsurge_async.client import GotSurge
from gotsurge_async.clock import SystemClock
from gotsurge_async.config import Credentials, Settings
from gotsurge_async.errors import ConfigError, GotSurgeError, SignInFailed, SignInNeeded, Unauthorized
from gotsurge_async.models.times import written
from gotsurge_async.secrets import Secret
from gotsurge_async.tables.checks.words import number_of

if TYPE_CHECKING:
    from gotsurge_async.auth.sql import SqlStore

HOST = "127.0.0.1"
PATH = "/callback"
DRAIN_SECONDS = 2.0
"""Seconds that the end of a sign-in waits for a request, which any page in the browser may hold open."""
REDIRECT_BY_HAND = "http://127.0.0.1:8976/callback"
"""The redirect address of a sign-in by hand: there is no page, and the user copies the address."""


@click.group()
def auth() -> None:
    """Sign in, and see who is signed in, and until when.

    Credentials come from GOTSURGE_CLIENT_KEY and GOTSURGE_SECRET_KEY, else from config.toml in your configuration
    folder (or GOTSURGE_CONFIG_FILE), else they are asked for. Tokens renew themselves. They are stored in a file that
    only you can read, or where GOTSURGE_TOKEN_STORE names: the URL of a database, or keyring.

    \b
    Exit codes:
      0 signed in     2 wrong usage, settings or files
      1 a call failed 4 not signed in, or a sign-in that was refused
    """
    logging.getLogger("gotsurge_async").addHandler(logging.NullHandler())  # errors are reported once, by the command


class _Place(Struct, frozen=True):
    """The account of a command, and the place where its tokens are used."""

    settings: Settings
    name: str
    how_to_sign_in: str
    account: str | None

    @classmethod
    def of(cls, **options: str | None) -> "_Place":
        target = Target.of_place(**options)
        settings = read_settings(target)
        how = how_to_sign_in(settings.environment.name, target.account, target.api_base)
        return cls(settings, account_name(settings.environment, target.account), how, target.account)

    @asynccontextmanager
    async def client(self, credentials: Credentials | None) -> AsyncIterator[GotSurge]:
        """A client that is not open: its parts are used one by one."""
        async with open_token_store() as store:
            gs = GotSurge(
                self.settings.environment,
                credentials=credentials,
                token_store=store,
                account=self.name,
                profile=self.settings.profile,
            )
            try:
                yield gs
            finally:
                await gs.close()


_takes_place = gathered("place", _Place.of, *account_options)

_INTERRUPTED = "interrupted: nothing was changed"
_asynchronous = functools.partial(asynchronous, interrupted=_INTERRUPTED)


@auth.command(short_help="Sign in, by the consent page in the browser.")
@_takes_place
@option(
    "--no-browser",
    "Do not open a browser: print the address of the page, and ask for the address to which it leads you.",
)
@option(
    "--port PORT",
    "The port of this machine to which the browser comes back.  [default: any that is free]",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=False,
)
@option(
    "--redirect-url URL", "With --no-browser: the address to which GotSurge sends you back.", default=REDIRECT_BY_HAND
)
@option("--timeout SECONDS", "How long it waits until you have consented.", type=click.FloatRange(min=1), default=300.0)
@json_option
def login(place: _Place, **options: Any) -> None:
    """Sign in: open GotSurge's consent page in the browser, and keep the tokens that it gives."""
    known = find_credentials(place.settings, place.account)
    # Asked outside of an event loop, in which Ctrl-C would not be heard before a line is typed.
    credentials = known if known is not None and known.secret_key is not None else _ask_credentials(known)
    _login(place=place, known=known, credentials=credentials, **options)


@_asynchronous
async def _login(
    place: _Place,
    known: Credentials | None,
    credentials: Credentials,
    no_browser: bool,
    port: int,
    redirect_url: str,
    timeout: float,
) -> None:
    async with place.client(credentials) as gs:
        if no_browser:
            done = await sign_in_by_hand(gs.oauth, place.name, redirect_url=redirect_url)
        else:
            done = await sign_in_with_browser(gs.oauth, place.name, port=port, timeout=timeout)
        await gs.tokens.adopt(done.tokens)
    if known is None and (path := _remember_client_key(place.settings.environment.name, credentials.client_key)):
        say(f"the client key is in {path} now: renewing needs it; the secret key is not kept")
    _print_account(place, done.tokens)


def _ask_credentials(known: Credentials | None) -> Credentials:
    """Ask for missing credentials; the secret key is not shown while it is typed."""
    client_key = known.client_key if known else click.prompt("Client key", err=True)
    secret_key = click.prompt("Secret key", hide_input=True, err=True)
    return Credentials(client_key=client_key.strip(), secret_key=Secret(secret_key.strip()))


def _remember_client_key(environment: str, client_key: str) -> Path | None:
    """Add the client key to the configuration file, unless the environment has a section there; returns the file."""
    path = config_file()
    if environment in read_config():
        return None
    before = read_private(path, "the configuration file") if path.exists() else ""
    text = f"[{environment}]\nclient_key = {msgspec.json.encode(client_key).decode()}\n"
    write_private(path, f"{before.rstrip()}\n\n{text}".lstrip().encode(), "the configuration file")
    return path


@auth.command()
@_takes_place
@json_option
@_asynchronous
async def status(place: _Place) -> Exit | None:
    """Say whether an account is signed in, and until when. Nothing is sent.

    A token that GOTSURGE_BEARER_TOKEN or GOTSURGE_REFRESH_TOKEN gives is used by every command instead of what is kept.
    """
    if (tokens := given_tokens(place.settings)) is not None:
        names = ["GOTSURGE_BEARER_TOKEN"] if tokens.bearer else []
        names += ["GOTSURGE_REFRESH_TOKEN"] if tokens.refresh else []
        # When such a token ends is not known.
        renews = bool(tokens.refresh)
        document = {"account": place.name, "state": "given", "given_by": names, "renews_itself": renews}
        text = f"{place.name}: every command uses the token of {' and '.join(names)}; what is kept is not looked at"
        print_one(document, text)
        return None
    async with open_token_store() as store:
        tokens = await store.load(place.name)
    if tokens is None:
        raise SignInNeeded(f"{place.name} is not signed in: {place.how_to_sign_in}", account=place.name)
    _print_account(place, tokens)
    return Exit.SIGN_IN if _state(tokens) in ("ended", "refused") else None


@auth.command()
@_takes_place
@json_option
@_asynchronous
async def refresh(place: _Place) -> None:
    """Renew an account's token now. Nobody needs to: tokens renew themselves."""
    async with place.client(find_credentials(place.settings, place.account)) as gs:
        try:
            tokens = await gs.tokens.renew()
        except (SignInNeeded, Unauthorized) as error:
            error.add_note(place.how_to_sign_in)
            raise
    _print_account(place, tokens)


@auth.command()
@_takes_place
@json_option
@_asynchronous
async def logout(place: _Place) -> None:
    """Forget an account's tokens on this machine. GotSurge offers no way to make them worthless."""
    async with open_token_store() as store:
        was = place.name in await store.accounts()
        async with store.lock(place.name):
            await store.delete(place.name)
    text = f"{place.name}: {'signed out' if was else 'was not signed in'}"
    print_one({"account": place.name, "signed_out": was}, text)


@auth.command()
@json_option
@_asynchronous
async def accounts() -> None:
    """List all accounts whose tokens are kept here. Nothing is sent."""
    async with open_token_store() as store:
        kept = [(name, await store.load(name)) for name in await store.accounts()]
    rows = [_document(name, tokens) for name, tokens in kept if tokens is not None]
    cells = [(row["account"], row["state"], row["expires_at"]) for row in rows]
    print_one({"accounts": rows}, lambda: print_table(("ACCOUNT", "STATE", "UNTIL"), cells))


@auth.command("rotate-key")
@json_option
@_asynchronous
async def rotate() -> None:
    """Encrypt all tokens with a new key.

    Without GOTSURGE_TOKEN_KEYS it writes a new key into the first line of the key file. If there is no such file, it
    makes one: from then on tokens are encrypted. The older keys stay below, because another store may need them. With
    GOTSURGE_TOKEN_KEYS it takes the first of these keys. You can remove the others afterwards.
    """
    path = None if os.environ.get(KEYS_VARIABLE) else key_file()
    count, older = (await _reseal(), 0) if path is None else await _rotate_key_file(path)
    are = number_of(count, "account is", "accounts are")
    text = f"{are} encrypted with the first of your keys: the others can go"
    if path:
        text = f"{are} encrypted with a new key, in {path}: keep a copy of it elsewhere"
    print_one({"accounts": count, "key_file": str(path) if path else None}, text)
    if older:
        say("the older keys stay in the file: remove their lines when no other token store needs them")


async def _rotate_key_file(path: Path) -> tuple[int, int]:
    """Put a new key in front of the file, and encrypt with it; returns the numbers of accounts and of older keys."""
    async with folder_lease(path, "rotation", SystemClock(), "the key file"):
        old = read_keys(path) if await asyncio.to_thread(path.exists) else []
        if old or not in_database():  # a database has no store before the first key
            async with _encrypted_store() as store:
                for account in await store.accounts():
                    await store.load(account)  # one that cannot be read is reported before anything is changed
        write_keys(path, [Secret(new_key()), *old])
        return await _reseal(), len(old)


async def _reseal() -> int:
    async with _encrypted_store() as store:
        return await store.reseal()


@asynccontextmanager
async def _encrypted_store() -> "AsyncIterator[FileStore | SqlStore]":
    async with open_token_store() as store:
        if isinstance(store, KeyringStore):
            raise ConfigError("the keyring encrypts the tokens itself: there is no key to rotate", "E305")
        yield store


def _state(tokens: Tokens) -> str:
    if tokens.expires_at <= datetime.now(UTC):
        return "ended" if tokens.refresh is None or tokens.refused_at else "renewable"
    return "refused" if tokens.refused_at else "signed in"


_STATES = {
    "signed in": "signed in until {until}{renews}",
    "renewable": "the token has ended, and is renewed at the next call",
    "ended": "not signed in any more: {how}",
    "refused": "the renewal was refused, and the token ends at {until}: {how}",
}


def _document(name: str, tokens: Tokens) -> dict[str, Any]:
    return {
        "account": name,
        "state": _state(tokens),
        "expires_at": tokens.expires_at.isoformat(timespec="seconds"),
        "renews_itself": tokens.refresh is not None and tokens.refused_at is None,
    }


def _print_account(place: _Place, tokens: Tokens) -> None:
    document = _document(place.name, tokens)
    renews = ", and renews itself" if document["renews_itself"] else ", and cannot renew itself"
    until = written(tokens.expires_at)
    state = _STATES[document["state"]].format(until=until, renews=renews, how=place.how_to_sign_in)
    print_one(document, f"{place.name}: {state}")


# --- the sign-in: the browser goes to the consent page, and comes back to a port of this machine ----------------------


async def sign_in_with_browser(oauth: OAuth, account: str, *, port: int, timeout: float) -> Finished:
    """Open a browser at the consent page, and wait until it returns to a port (0: any free one)."""
    redirect = _Redirect()
    routes = [web.get(PATH, redirect.answer, allow_head=False)]
    async with listening(HOST, port, routes, drain=DRAIN_SECONDS) as origin:
        consent = Consent(oauth, f"{origin}{PATH}")
        begun = await consent.begin(account)
        redirect.expect(origin, begun.state)
        # Not waited for: some browsers only return when they are closed.
        opening = asyncio.create_task(_open(begun.url, timeout))
        try:
            return await redirect.finished(consent, timeout)
        finally:
            opening.cancel()
            await asyncio.wait([opening])


async def _open(url: str, timeout: float) -> None:
    say(f"sign in with the browser that opens (at most {timeout:.0f} s)")
    if not await asyncio.to_thread(webbrowser.open, url):
        say(f"no browser opens here: go to\n\n{url}\n")


async def sign_in_by_hand(oauth: OAuth, account: str, *, redirect_url: str) -> Finished:
    """Print the consent page's URL, and ask for the URL to which the browser returned."""
    consent = Consent(oauth, redirect_url)
    begun = await consent.begin(account)
    say(f"Open this page in a browser, on any machine:\n\n{begun.url}\n")
    say("Afterwards the browser shows a page that cannot be found, or an empty one: copy its address.")
    pasted = (await _typed("Address: ")).strip()
    return await consent.finish(dict(parse_qsl(urlsplit(pasted).query, keep_blank_values=True)))


async def _typed(prompt: str) -> str:
    """A line that a person types. Ctrl-C ends the command meanwhile, for which no reading thread may be waited for."""
    click.echo(prompt, nl=False, err=True)
    if sys.stdin.isatty():
        loop, is_there = asyncio.get_running_loop(), asyncio.Event()
        with suppress(NotImplementedError):  # Windows
            loop.add_reader(sys.stdin, is_there.set)
            try:
                await is_there.wait()
            finally:
                loop.remove_reader(sys.stdin)
    line = str(await asyncio.to_thread(sys.stdin.readline))
    if not line:
        raise click.Abort
    return line


class _Redirect:
    """Receives the one redirect of a sign-in, and answers the browser when the result of the sign-in is known.

    Any page that the browser shows can send it here as well. So a request without the state, or under another host name
    than ours (DNS rebinding), ends nothing, and nothing of it is shown.
    """

    def __init__(self) -> None:
        self._host = ""
        self._state = b""
        self._query: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self._outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def expect(self, origin: str, state: str) -> None:
        """Accept the redirect to this origin with this state; before that no redirect is accepted."""
        self._host = urlsplit(origin).netloc
        self._state = state.encode()

    async def finished(self, consent: Consent, timeout: float) -> Finished:
        """Wait for the redirect, finish the consent, and answer the browser."""
        outcome = "The sign-in was given up."
        try:
            try:
                async with asyncio.timeout(timeout):
                    query = await self._query
            except TimeoutError:
                why = f"the sign-in was not completed within {timeout:.0f} s: start it again"
                raise SignInFailed(why, reason="timeout") from None
            finished = await consent.finish(query)
            outcome = "You are signed in. You can close this window, and go back to the terminal."
        except GotSurgeError as error:
            outcome = f"Not signed in: {error}."
            raise
        finally:
            self._outcome.set_result(outcome)
        return finished

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a request of the browser."""
        state = request.query.get("state", "").encode("utf-8", "surrogatepass")
        is_known = bool(self._state) and hmac.compare_digest(state, self._state)
        if not is_known or request.headers.get("Host") != self._host:
            text = "This does not belong to the sign-in that the terminal waits for. It waits on; Ctrl-C there ends it."
            return _page(text, 403)
        if not self._query.done():
            self._query.set_result(dict(request.query))
        return _page(await asyncio.shield(self._outcome))


def _page(text: str, status: int = 200) -> web.Response:
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>GotSurge</title>'
        f'<p id="said">{html.escape(text)}</p>'
    )
    headers = {
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
    }
    return web.Response(text=page, status=status, content_type="text/html", headers=headers)
