"""The board over HTTP: two pages, their parts, and their files."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from gotsurge_async.api.endpoints import ENDPOINTS
from gotsurge_async.models.words import in_words
from gotsurge_async.simulator.app import BASE_PATH
from gotsurge_async.simulator.board import orders
from gotsurge_async.simulator.board.orders import Axis, Filter, Orders, Survey, local, order_page, short
from gotsurge_async.simulator.faults import BENDING_KINDS, CALL_KINDS, EVENT_KINDS, KINDS
from gotsurge_async.simulator.loopback import PAGE_HEADERS, masked_url
from gotsurge_async.simulator.replies import number_in
from gotsurge_async.simulator.state.log import LoggedCall
from gotsurge_async.simulator.state.service import Service
from gotsurge_async.simulator.state.tasks import TaskRecord
from gotsurge_async.simulator.webhooks import Sender

if TYPE_CHECKING:
    from jinja2 import Environment

STATIC, TEMPLATES = Path(__file__).parent / "static", Path(__file__).parent / "templates"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    **PAGE_HEADERS, "Content-Security-Policy": POLICY, "Cross-Origin-Resource-Policy": "same-origin",
}  # fmt: skip
FILES: Mapping[str, str] = {"board.css": "text/css", "board.js": "text/javascript", "icon.svg": "image/svg+xml"}

PARTS = ("strip", "flags", "orders", "failing", "requests", "webhooks", "faults", "faulty")
"""The names of the board's parts."""
CARDS = 15
"""The most cards of each status that are shown."""
SHOWN = 60
"""The most calls, and events, that are listed."""
FAULT_GROUPS = {
    "To calls": [kind for kind in CALL_KINDS if kind not in BENDING_KINDS],
    "To what calls do and show": list(BENDING_KINDS),
    "To events": [kind for kind in EVENT_KINDS if kind not in CALL_KINDS],
}
_UUID = re.compile(r"([0-9a-f]{4})[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{8}([0-9a-f]{4})")


def add_board(app: web.Application, service: Service, sender: Sender) -> None:
    """Serve the board at ``/``, an order at ``/orders/{task_id}``, and their parts and files under ``/board/``."""
    board = _Board(service, sender)
    app.router.add_get("/", board.show)
    app.router.add_get("/orders/{task_id}", board.show_order)
    app.router.add_get("/board/parts", board.parts)
    app.router.add_get("/board/{name}", _file)


@cache
def templates() -> "Environment":
    """The templates, loaded when a board is first opened; without Jinja2 the board answers 501."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ModuleNotFoundError:
        raise web.HTTPNotImplemented(text='the board needs the extra: pip install "gotsurge-async[cli]"') from None
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(STAGES=orders.STAGES, STAGE_OF=orders.STAGE_OF, CARDS=CARDS, ACTIONS=orders.ACTIONS)
    environment.globals.update(ENDPOINTS=ENDPOINTS, KINDS=KINDS, FAULT_GROUPS=FAULT_GROUPS)
    environment.globals.update(Axis=Axis, rows_of=orders.rows_of)
    environment.filters |= {
        "brief": orders.brief,
        "code_class": _code_class,
        "local": lambda seconds, style: local(seconds).strftime(style),
        "imo": orders.imo,
        "in_words": in_words,
        "moment": orders.moment,
        "money": orders.money,
        "name_of": _name_of,
        "number": "{:,}".format,
        "ordinal": _ordinal,
        "plain_number": orders.plain_number,
        "precise": orders.precise,
        "short": short,
        "short_ids": lambda path: _UUID.sub(r"\1…\2", path),
        "span": orders.span,
        "took": lambda seconds: f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.0f} s",
    }
    return environment


class _Board:
    def __init__(self, service: Service, sender: Sender) -> None:
        self._service = service
        self._sender = sender
        self._orders = Orders()
        self._known: tuple[int, Survey | None] = (-1, None)
        self._arguments: Mapping[str, Callable[[web.Request], tuple[Any, ...]]] = {
            "strip": lambda request: (self._survey(), Filter.from_query(request.query)),
            "flags": lambda request: (self._survey(), Filter.from_query(request.query)),
            "orders": lambda request: (self._survey(), Filter.from_query(request.query)),
            "failing": self._failing,
            "requests": self._requests,
            "webhooks": self._webhooks,
            "faults": lambda _: (service.faults.described(), service.late.described()),
            "faulty": lambda _: (len(service.faults.described()),),
            "request": self._request,
            "event": self._event,
            "order": lambda request: self._order(request.query.get("task", ""), request),
        }
        """The values of the macro of each part."""

    async def show(self, request: web.Request) -> web.Response:
        """Answer with the board."""
        self._catch_up()
        parts = {name: self._part(name, request) for name in PARTS}
        return self._page("board.html", "Board", parts=parts, wanted=Filter.from_query(request.query), page="board")

    async def show_order(self, request: web.Request) -> web.Response:
        """Answer with the page of one order."""
        self._catch_up()
        task_id = request.match_info["task_id"]
        try:
            order = templates().get_template("parts.html").module.order(*self._order(task_id, request))  # type: ignore[attr-defined]
            name = _name_of(self._service.tasks.find(task_id))
        except LookupError:
            response = self._page("page.html", "No such order", page="gone")
            response.set_status(404)
            return response
        return self._page("order.html", name, parts={"order": order}, page="order", task=task_id)

    async def parts(self, request: web.Request) -> web.Response:
        """Answer with the present parts of a page by name, as JSON, with the clock.

        A part about something that does not exist, or no longer, is null.
        """
        self._catch_up()
        parts: dict[str, str | None] = {}
        for name in request.query.get("names", "").split(","):
            if name in self._arguments and name not in parts:
                try:
                    parts[name] = self._part(name, request)
                except LookupError:
                    parts[name] = None
        clock = {"now": self._service.clock.now(), "speed": self._service.clock.speed}
        return web.json_response({"clock": clock, "parts": parts}, headers=HEADERS)

    def _part(self, name: str, request: web.Request) -> str:
        """A part as HTML, by the macro of its name; raises LookupError if its subject does not exist."""
        arguments = self._arguments[name](request)
        html: str = getattr(templates().get_template("parts.html").module, name)(*arguments)
        return html

    def _catch_up(self) -> None:
        """Process everything that is due by now, and keep doing so: the board shows each step when it is due."""
        self._service.wake()
        self._sender.catch_up()

    def _survey(self) -> Survey:
        """All orders in their present state; the same object for all pages until the next change."""
        service = self._service
        now, number = service.clock.now(), service.changes.total()
        known, survey = self._known
        if survey is None or known != number or not 0 <= now - survey.now < max(1.0, service.clock.speed):
            survey = self._orders.survey(service.tasks.all(), now)
            self._known = (number, survey)
        return survey

    def _requests(self, request: web.Request) -> tuple[Any, ...]:
        words = request.query.get("rq", "")[:200].lower().split()
        errors = request.query.get("errors") == "true"
        calls = [
            call
            for call in self._service.requests.latest()
            if (not errors or not 200 <= call.status < 400) and all(word in _text(call) for word in words)
        ]
        return calls[:SHOWN], bool(words or errors)

    def _failing(self, _: web.Request) -> tuple[int]:
        counted = self._service.events.count()
        return (sum(counted[state] for state in ("waiting", "lost", "given_up")),)

    def _webhooks(self, _: web.Request) -> tuple[Any, ...]:
        service = self._service
        urls = sorted({masked_url(url) for url in service.webhook_urls.values() if url})
        return urls, service.events.count(), service.events.latest(SHOWN), service.clock.now()

    def _request(self, request: web.Request) -> tuple[Any, ...]:
        call = self._service.requests.find(number_in(request.query.get("number", "")))
        return call, _api_base(request), self._service.tasks.knows(call.task_id)

    def _event(self, request: web.Request) -> tuple[Any, ...]:
        event = self._service.events.find(number_in(request.query.get("number", "")))
        body = msgspec.json.format(event.body, indent=2).decode("utf-8", "replace")
        return event, body, self._service.clock.now()

    def _order(self, task_id: str, request: web.Request) -> tuple[Any, ...]:
        record = self._service.tasks.find(task_id)
        return (order_page(self._service, record, self._orders.facts(record), _api_base(request)),)

    def _page(self, template: str, title: str, *, page: str, task: str = "", **values: Any) -> web.Response:
        html = (
            templates()
            .get_template(template)
            .render(
                title=title,
                page=page,
                task=task,
                changes={"world": self._service.world, **self._service.changes},
                now=local(self._service.clock.now()),
                seed=self._service.options.seed,
                drives=self._service.lives.drives,
                **values,
            )
        )
        return web.Response(text=html, content_type="text/html", headers=HEADERS)


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _name_of(record: TaskRecord) -> str:
    """The name of an order in a line: its tracking id, or the beginning of its id."""
    return short(record.tracking_id) or record.id[:8]


def _text(call: LoggedCall) -> str:
    """The text in which the filter of requests searches."""
    return f"{call.verb} {call.path} {call.operation} {call.status} {call.account}".lower()


def _code_class(status: int) -> str:
    """The CSS class of a status: good, not so good, or bad; 0 (no answer) is bad."""
    if 200 <= status < 300:
        return "c2"
    return "c4" if 300 <= status < 500 else "c5"


def _api_base(request: web.Request) -> str:
    return f"{request.url.origin()}{BASE_PATH}"


async def _file(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in FILES:
        raise web.HTTPNotFound
    return web.Response(body=(STATIC / name).read_bytes(), content_type=FILES[name], charset="utf-8", headers=HEADERS)
