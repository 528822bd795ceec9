"""A sign-in at a terminal: the browser goes to the consent page, and comes back to a port of this machine."""

import asyncio
import hmac
import html
import sys
import webbrowser
from contextlib import suppress
from urllib.parse import parse_qsl, urlsplit

import click
from aiohttp import web

from gotsurge_async.auth.consent import Consent, Finished
from gotsurge_async.auth.oauth import OAuth
from gotsurge_async.cli.afterwards.serving import listening
from gotsurge_async.cli.shared.output import say
from gotsurge_async.errors import GotSurgeError, SignInFailed

HOST = "127.0.0.1"
PATH = "/callback"
DRAIN_SECONDS = 2.0
"""Seconds that the end of a sign-in waits for a request, which any page in the browser may hold open."""


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
