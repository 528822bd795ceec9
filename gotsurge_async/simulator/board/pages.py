"""The board over HTTP: two pages, the parts of which they consist, and their files."""

from collections.abc import Callable, Mapping

from aiohttp import web

from gotsurge_async.simulator.app import BASE_PATH
from gotsurge_async.simulator.board import lists, traffic
from gotsurge_async.simulator.board.live import Live
from gotsurge_async.simulator.board.markup import STATIC, Html, fill
from gotsurge_async.simulator.board.order_page import order
from gotsurge_async.simulator.board.orders import Orders, Survey, local
from gotsurge_async.simulator.state.service import Service
from gotsurge_async.simulator.webhooks import Sender

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
FILES: Mapping[str, str] = {"board.css": "text/css", "board.js": "text/javascript", "icon.svg": "image/svg+xml"}

PARTS = ("strip", "flags", "orders", "failing", "requests", "webhooks", "faults", "faulty")
"""What the board consists of."""


def add_board(app: web.Application, service: Service, sender: Sender, live: Live) -> None:
    """Serve the board at ``/``, an order at ``/orders/{task_id}``, and what both consist of under ``/board/``."""
    board = _Board(service, sender, live)
    app.router.add_get("/", board.show)
    app.router.add_get("/orders/{task_id}", board.show_order)
    app.router.add_get("/board/parts", board.parts)
    app.router.add_get("/board/{name}", _file)


class _Board:
    def __init__(self, service: Service, sender: Sender, live: Live) -> None:
        self._service = service
        self._sender = sender
        self._live = live
        self._orders = Orders()
        self._known: tuple[int, Survey | None] = (-1, None)
        self._makers: Mapping[str, Callable[[web.Request], Html]] = {
            "strip": lambda request: lists.strip(self._survey(), lists.wanted_from(request.query)),
            "flags": lambda request: lists.flags(self._survey(), lists.wanted_from(request.query)),
            "orders": lambda request: lists.orders(self._survey(), lists.wanted_from(request.query)),
            "failing": lambda _: traffic.failing(service),
            "requests": lambda request: traffic.requests(
                service, request.query.get("rq", "")[:200], errors=request.query.get("errors") == "true"
            ),
            "webhooks": lambda _: traffic.webhooks(service),
            "faults": lambda _: traffic.faults(service),
            "faulty": lambda _: traffic.faulty(service),
            "request": lambda request: traffic.request(service, _number(request), _api_base(request)),
            "event": lambda request: traffic.event(service, _number(request)),
            "order": lambda request: self._order(request.query.get("task", ""), request),
        }

    async def show(self, request: web.Request) -> web.Response:
        """The board."""
        self._catch_up()
        wanted = lists.wanted_from(request.query)
        content = fill(
            "board",
            q=wanted.text,
            is_table="true" if wanted.view == "table" else "false",
            is_columns="true" if wanted.view == "columns" else "false",
            fault_form=traffic.fault_form(),
            **{name: self._makers[name](request) for name in PARTS},
        )
        return self._page("Board", content, page="board", what="orders")

    async def show_order(self, request: web.Request) -> web.Response:
        """One order."""
        self._catch_up()
        task_id = request.match_info["task_id"]
        try:
            content = fill("order", order=self._order(task_id, request))
            name = lists.name_of(self._service.tasks.find(task_id))
        except LookupError:
            return self._gone()
        return self._page(name, content, page="order", what="order", task=task_id)

    async def parts(self, request: web.Request) -> web.Response:
        """Parts of a page as they are now, by their names, as JSON, with the clock and the position in the stream.

        A part of what is not there, or not any more, is null.
        """
        position = self._live.position
        self._catch_up()
        parts: dict[str, Html | None] = {}
        for name in request.query.get("names", "").split(","):
            if name in self._makers and name not in parts:
                try:
                    parts[name] = self._makers[name](request)
                except LookupError:
                    parts[name] = None
        clock = {"now": self._service.clock.now(), "speed": self._service.clock.speed}
        return _protected(web.json_response({"position": position, "clock": clock, "parts": parts}))

    def _catch_up(self) -> None:
        """Have happened what was to happen by now: whoever looks at the board sees each step when it is due."""
        self._service.wake()
        self._service.catch_up(self._service.clock.now())
        self._sender.send(self._service.take_fresh())

    def _survey(self) -> Survey:
        """All orders as they stand now; the same for all pages that ask after the same change."""
        service = self._service
        now, number = service.clock.now(), service.changes.number
        known, survey = self._known
        if survey is None or known != number or not 0 <= now - survey.now < max(1.0, service.clock.speed):
            survey = self._orders.survey(service.tasks.all(), now)
            self._known = (number, survey)
        return survey

    def _order(self, task_id: str, request: web.Request) -> Html:
        record = self._service.tasks.find(task_id)
        return order(self._service, record, self._orders.facts(record), _api_base(request))

    def _page(self, title: str, content: Html, *, page: str, what: str, task: str = "") -> web.Response:
        now = self._service.clock.now()
        html = fill(
            "page",
            title=f"{title} - GotSurge simulator",
            page=page,
            task=task,
            what=what,
            position=self._live.position,
            glyphs=_GLYPHS,
            time=f"{local(now):%H:%M:%S}",
            day=f"{local(now):%a} {local(now).day} {local(now):%b}",
            year=f"{local(now):%Y}",
            seed=self._service.options.seed,
            drivers="Drivers drive." if self._service.lives.drives else "Nobody drives by himself (--life).",
            content=content,
        )
        return _protected(web.Response(text=html, content_type="text/html"))

    def _gone(self) -> web.Response:
        response = self._page("No such order", fill("gone"), page="gone", what="page")
        response.set_status(404)
        return response


def _number(request: web.Request) -> int:
    text = request.query.get("number", "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise LookupError(f"there is nothing of the number {text!r}")
    return int(text)


def _api_base(request: web.Request) -> str:
    return f"{request.url.origin()}{BASE_PATH}"


async def _file(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in FILES:
        raise web.HTTPNotFound
    response = web.Response(body=(STATIC / name).read_bytes(), content_type=FILES[name], charset="utf-8")
    return _protected(response)


def _protected(response: web.Response) -> web.Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return response


_GLYPHS = Html((STATIC / "glyphs.svg").read_text(encoding="utf-8").strip())
