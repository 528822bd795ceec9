"""The board over HTTP: two pages, the parts of which they consist, and their files."""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from gotsurge_async.simulator.app import BASE_PATH
from gotsurge_async.simulator.board import lists, traffic
from gotsurge_async.simulator.board.live import Live
from gotsurge_async.simulator.board.markup import STATIC, Html, fill
from gotsurge_async.simulator.board.order_page import order
from gotsurge_async.simulator.board.orders import Orders, Survey, Wanted, local
from gotsurge_async.simulator.state.service import Service

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
FILES: Mapping[str, str] = {"board.css": "text/css", "board.js": "text/javascript", "icon.svg": "image/svg+xml"}

Handler = Callable[[web.Request], Awaitable[web.Response]]


def add_board(app: web.Application, service: Service, live: Live) -> None:
    """Serve the board at ``/``, an order at ``/orders/{task_id}``, and what both consist of under ``/board/``."""
    board = _Board(service, live)
    app.router.add_get("/", board.show)
    app.router.add_get("/orders/{task_id}", board.show_order)
    app.router.add_get("/board/parts", board.parts)
    app.router.add_get("/board/{name}", _file)


class _Board:
    def __init__(self, service: Service, live: Live) -> None:
        self._service = service
        self._live = live
        self._orders = Orders()
        self._known: tuple[int, Survey | None] = (-1, None)

    async def show(self, request: web.Request) -> web.Response:
        """The board."""
        self._wake()
        wanted = lists.wanted_from(request.query)
        names = ("strip", "flags", "orders", "failing", "requests", "webhooks", "faults", "faulty")
        content = fill(
            "board",
            q=wanted.text,
            is_table="true" if wanted.view == "table" else "false",
            is_columns="true" if wanted.view == "columns" else "false",
            fault_form=traffic.fault_form(),
            **self._parts(names, request, wanted),
        )
        return self._page("Board", content, page="board", what="orders")

    async def show_order(self, request: web.Request) -> web.Response:
        """One order."""
        self._wake()
        task_id = request.match_info["task_id"]
        try:
            content = fill("order", order=self._order(task_id, request))
            name = lists.name_of(self._service.tasks.find(task_id))
        except LookupError:
            return self._gone()
        return self._page(name, content, page="order", what="order", task=task_id)

    async def parts(self, request: web.Request) -> web.Response:
        """Parts of a page as they are now, by their names, as JSON, with the clock and the position in the stream."""
        position = self._live.position
        self._wake()
        names = request.query.get("names", "").split(",")[:12]
        try:
            parts: Mapping[str, Html | None] = self._parts(names, request, lists.wanted_from(request.query))
        except LookupError:
            parts = dict.fromkeys(names)
        clock = {"now": self._service.clock.now(), "speed": self._service.clock.speed}
        return _protected(web.json_response({"position": position, "clock": clock, "parts": parts}))

    def _wake(self) -> None:
        self._service.wake()
        self._service.catch_up(self._service.clock.now())

    def _parts(self, names: "tuple[str, ...] | list[str]", request: web.Request, wanted: Wanted) -> dict[str, Html]:
        service, query = self._service, request.query
        survey: Survey | None = None
        parts: dict[str, Html] = {}
        number = query.get("number", "")
        for name in names:
            if name in ("strip", "flags", "orders"):
                survey = survey or self._survey()
                parts[name] = getattr(lists, name)(survey, wanted)
            elif name == "requests":
                parts[name] = traffic.requests(service, query.get("rq", "")[:200], errors=query.get("errors") == "true")
            elif name in ("webhooks", "failing", "faults", "faulty"):
                parts[name] = getattr(traffic, name)(service)
            elif name in ("request", "event"):
                if not (number.isascii() and number.isdigit() and len(number) < 10):
                    raise LookupError(number)
                if name == "request":
                    parts[name] = traffic.request(service, int(number), _api_base(request))
                else:
                    parts[name] = traffic.event(service, int(number))
            elif name == "order":
                parts[name] = self._order(query.get("task", ""), request)
        return parts

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
