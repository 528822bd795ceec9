"""The page of proposals: a person reads them in a browser on this machine, and approves or rejects them.

Only this page's own forms decide: each has a token that no other page knows, Host and Origin must be this server's own,
port included, and the browser must send the code that the terminal shows.
"""

import secrets
from collections.abc import Mapping
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
from gotsurge_async.secrets import Secret

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


class ProposalsPage:
    """The page over a ledger, on which ``by`` decides; ``code`` is its password, with any user name."""

    def __init__(self, ledger: Ledger, by: str) -> None:
        self.code: str = secrets.token_urlsafe(16)
        self.origin: str = ""
        self._ledger = ledger
        self._by = by
        self._form_token = Secret(secrets.token_urlsafe(32))
        self._messages: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        """Answer this page's own requests, of a person who knows the code."""
        stranger = self._stranger(request)
        if stranger is not None:
            answer = web.Response(status=403, text=f"refused: {stranger} is not this page's own")
        elif not self._knows_code(request):
            asking = {"WWW-Authenticate": 'Basic realm="GotSurge proposals, code as password", charset="UTF-8"'}
            answer = web.Response(status=401, text="the terminal shows the code", headers=asking)
        elif (request.method, request.path) == ("POST", "/decide"):
            answer = await self._decided(request)
        elif request.path == "/page.css":
            answer = web.Response(text=(HERE / "page.css").read_text("utf-8"), content_type="text/css")
        elif request.path == "/":
            answer = web.Response(text=await self._shown(), content_type="text/html")
        else:
            answer = web.Response(status=404)
        answer.headers.update(HEADERS)
        return answer

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
            return Secret(BasicAuth.decode(request.headers.get("Authorization", "")).password) == Secret(self.code)
        except ValueError:
            return False

    async def _shown(self) -> str:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
        environment.filters |= {"time": written, "plain": printable_lines, "indented": msgspec.json.format}
        proposals = await self._ledger.proposals.newest(SHOWN)
        messages, self._messages = self._messages, []
        return environment.get_template("page.html").render(
            waiting=[each for each in proposals if each.state is ProposalState.PROPOSED],
            others=[each for each in proposals if each.state is not ProposalState.PROPOSED],
            ledger=self._ledger.path,
            by=self._by,
            token=self._form_token.reveal(),
            messages=messages,
        )

    async def _decided(self, request: web.Request) -> web.Response:
        if (request.content_length or LARGEST + 1) > LARGEST:
            return web.Response(status=413, text="refused: too large")
        try:
            form: Mapping[str, Any] = await request.post()
        except (ValueError, LookupError, AssertionError):  # a broken part, an unknown charset
            return web.Response(status=400, text="refused: this is no form")
        if Secret(str(form.get("token", ""))) != self._form_token:
            return web.Response(status=403, text="refused: the form is not this page's own")
        try:
            self._messages.append(await self._message(form))
        except GotSurgeError as error:
            self._messages.append(str(error))
        return web.Response(status=303, headers={"Location": "/"})

    async def _message(self, form: Mapping[str, Any]) -> str:
        """Do what a form says, and return what became of it."""
        proposal = await self._ledger.proposals.get(str(form.get("proposal", "")))
        if form.get("digest") != proposal.digest:
            return f"Proposal {proposal.id} is not what was shown: nothing was sent."
        if form.get("decision") == "reject":
            proposal = await self._ledger.proposals.reject(proposal, self._by, str(form.get("why", ""))[:1000])
        elif form.get("decision") == "approve" and form.get("read") == "yes":
            proposal = await send_approved(self._ledger, proposal, self._by)
        else:
            return f"Nothing was decided about proposal {proposal.id}: tick that you have read it."
        return f"Proposal {proposal.id} is {proposal.state}."


@asynchronous
async def serve_page(place: Place, by: str, port: int) -> None:
    """Serve the page until Ctrl-C."""
    async with open_ledger(place) as ledger:
        page = ProposalsPage(ledger, by)
        async with listening(
            "127.0.0.1", port, [web.route("*", "/{path:.*}", page.answer)], drain=DRAIN
        ) as page.origin:
            say(f"proposals are at {page.origin}/ with any user name and the password {page.code}")
            await until_a_signal()
