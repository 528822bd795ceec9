"""The page of proposals: a person reads them in a browser on this machine, and approves or rejects them.

Only this page's own forms decide: each has a token that no other page knows, Host and Origin must be this server's own,
port included, and the browser must send the code that the terminal shows.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import BasicAuth, web

from gotsurge_async.cli.afterwards.serving import listening, until_a_signal
from gotsurge_async.cli.agents.sending import send_approved
from gotsurge_async.cli.shared.exits import asynchronous
from gotsurge_async.cli.shared.ledger import open_ledger
from gotsurge_async.cli.shared.output import say
from gotsurge_async.database import Place
from gotsurge_async.errors import GotSurgeError
from gotsurge_async.ledger import Ledger
from gotsurge_async.ledger.proposals import ProposalState
from gotsurge_async.models.times import written
from gotsurge_async.models.words import printable_lines

HERE = Path(__file__).parent
SHOWN = 50  # proposals
DRAIN = 3600.0  # seconds in which the end waits for what is being sent
LARGEST = 8 * 1024  # bytes of a form
HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ProposalsPage:
    """The page over a ledger.

    Args:
        by: the person who decides here.

    Attributes:
        code: the password of the page, with any user name.
        origin: the page's origin, once it is served.
    """

    def __init__(self, ledger: Ledger, by: str) -> None:
        self.code: str = secrets.token_urlsafe(16)
        self.origin: str = ""
        self._ledger = ledger
        self._by = by
        self._form_token = secrets.token_urlsafe(32)
        self._messages: list[str] = []

    @property
    def routes(self) -> list[web.RouteDef]:
        """The routes of the page."""
        routes = (("GET", "/", self._show), ("GET", "/page.css", self._style), ("POST", "/decide", self._decide))
        return [web.route(method, path, self._guarded(handler)) for method, path, handler in routes]

    def _guarded(self, handler: Handler) -> Handler:
        async def guard(request: web.Request) -> web.StreamResponse:
            reason = self._stranger(request)
            if reason is not None:
                return web.Response(status=403, text=f"refused: {reason} is not this page's own", headers=HEADERS)
            if not self._knows_code(request):
                asking = {"WWW-Authenticate": 'Basic realm="GotSurge proposals, code as password", charset="UTF-8"'}
                return web.Response(status=401, text="the terminal shows the code", headers={**HEADERS, **asking})
            return await handler(request)

        return guard

    def _stranger(self, request: web.Request) -> str | None:
        """The sign that another site, or another name of this machine, sent the request; None without one."""
        if request.headers.getall("Host", []) != [self.origin.removeprefix("http://")]:
            return "Host"
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return "Sec-Fetch-Site"
        origins = request.headers.getall("Origin", [])
        wanted = [self.origin] if request.method == "POST" else []
        return None if origins in (wanted, [self.origin]) else "Origin"

    def _knows_code(self, request: web.Request) -> bool:
        try:
            code = BasicAuth.decode(request.headers.get("Authorization", "")).password
        except ValueError:
            return False
        return hmac.compare_digest(code.encode(), self.code.encode())

    async def _style(self, _: web.Request) -> web.Response:
        return web.Response(text=(HERE / "page.css").read_text("utf-8"), content_type="text/css", headers=HEADERS)

    async def _show(self, _: web.Request) -> web.Response:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
        environment.filters |= {"time": written, "plain": printable_lines, "indented": msgspec.json.format}
        proposals = await self._ledger.proposals.newest(SHOWN)
        messages, self._messages = self._messages, []
        text = environment.get_template("page.html").render(
            waiting=[each for each in proposals if each.state is ProposalState.PROPOSED],
            others=[each for each in proposals if each.state is not ProposalState.PROPOSED],
            ledger=self._ledger.path,
            by=self._by,
            token=self._form_token,
            messages=messages,
        )
        return web.Response(text=text, content_type="text/html", headers=HEADERS)

    async def _decide(self, request: web.Request) -> web.Response:
        if (request.content_length or LARGEST + 1) > LARGEST:
            return web.Response(status=413, text="refused: too large", headers=HEADERS)
        try:
            form: Mapping[str, Any] = await request.post()
        except (ValueError, LookupError, AssertionError):  # a broken part, an unknown charset
            return web.Response(status=400, text="refused: this is no form", headers=HEADERS)
        if not hmac.compare_digest(str(form.get("token", "")).encode(), self._form_token.encode()):
            return web.Response(status=403, text="refused: the form is not this page's own", headers=HEADERS)
        try:
            self._messages.append(await self._done(form))
        except GotSurgeError as error:
            self._messages.append(str(error))
        return web.Response(status=303, headers={**HEADERS, "Location": "/"})

    async def _done(self, form: Mapping[str, Any]) -> str:
        proposal = await self._ledger.proposals.get(str(form.get("proposal", "")))
        if form.get("digest") != proposal.digest:
            return f"Proposal {proposal.id} is not what was shown: nothing was sent."
        if form.get("decision") == "reject":
            await self._ledger.proposals.reject(proposal, self._by, str(form.get("why", ""))[:1000])
            return f"Proposal {proposal.id} is rejected."
        if form.get("decision") != "approve" or form.get("read") != "yes":
            return f"Nothing was decided about proposal {proposal.id}: tick that you have read it."
        return f"Proposal {proposal.id} is {(await send_approved(self._ledger, proposal, self._by)).state}."


@asynchronous
async def serve_page(place: Place, by: str, port: int) -> None:
    """Serve the page until Ctrl-C."""
    async with open_ledger(place) as ledger:
        page = ProposalsPage(ledger, by)
        async with listening("127.0.0.1", port, page.routes, drain=DRAIN) as page.origin:
            say(f"proposals are at {page.origin}/ with any user name and the password {page.code}")
            await until_a_signal()
