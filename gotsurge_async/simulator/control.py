"""What only a simulator has: the count, faults to order, a clock to turn. It never suffers faults itself."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from aiohttp import web

from gotsurge_async.api.openapi import document
from gotsurge_async.simulator.app import BASE_PATH
from gotsurge_async.simulator.board.live import Live
from gotsurge_async.simulator.day import seed_a_day
from gotsurge_async.simulator.faults import fault_from_json
from gotsurge_async.simulator.operations.checks import read_body
from gotsurge_async.simulator.replies import RefusedError, json_reply
from gotsurge_async.simulator.state.partners import Caller
from gotsurge_async.simulator.state.requests import MOST_REQUESTS
from gotsurge_async.simulator.state.service import Service
from gotsurge_async.simulator.webhooks import Sender

PREFIX = "/_simulator"


class _ClockBody(msgspec.Struct, forbid_unknown_fields=True):
    advance_seconds: float = 0.0
    speed: float | None = None


class _RestoreBody(msgspec.Struct, forbid_unknown_fields=True):
    at: float | None = None
    seconds_ago: Annotated[float, msgspec.Meta(ge=0)] | None = None


class _SeedBody(msgspec.Struct, forbid_unknown_fields=True):
    orders: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 40
    account: str = "platform"


class _WebhookBody(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    account: str | None = None


class _PersonBody(msgspec.Struct, forbid_unknown_fields=True):
    account: str
    email: str | None = None


class _AccountBody(msgspec.Struct, forbid_unknown_fields=True):
    account: str


class _StatusBody(msgspec.Struct, forbid_unknown_fields=True):
    status: str
    force: bool = False
    through: bool = False
    note: str = ""


Action = Callable[[web.Request, bytes], dict[str, Any] | None]


def add_control(app: web.Application, service: Service, sender: Sender, live: Live) -> None:
    """Serve all this under `PREFIX`, with the OpenAPI document of what the simulator serves."""
    control = _Control(service, sender)
    app.router.add_get(f"{PREFIX}/events", live.stream)
    for verb, path, action in (
        ("GET", "audit", control.audit),
        ("GET", "tasks", control.tasks),
        ("GET", "openapi.json", control.describe),
        ("POST", "faults", control.order_fault),
        ("GET", "faults", control.faults),
        ("DELETE", "faults", control.clear_faults),
        ("DELETE", "faults/{number}", control.remove_fault),
        ("GET", "clock", control.clock),
        ("POST", "clock", control.turn),
        ("GET", "late", control.late),
        ("POST", "restore", control.restore),
        ("POST", "reset", control.reset),
        ("POST", "code", control.new_code),
        ("POST", "session", control.new_session),
        ("POST", "revoke", control.revoke),
        ("POST", "tasks/{task_id}/status", control.move),
        ("DELETE", "tasks/{task_id}", control.remove),
        ("GET", "webhooks", control.webhooks),
        ("POST", "webhooks", control.set_webhook),
        ("POST", "webhooks/{number}/resend", control.resend),
        ("GET", "requests", control.requests),
        ("POST", "seed", control.seed),
    ):
        app.router.add_route(verb, f"{PREFIX}/{path}", _handler(action, service, sender))


class _Control:
    """Each takes a request and its body, and returns what is answered as JSON."""

    def __init__(self, service: Service, sender: Sender) -> None:
        self._service = service
        self._sender = sender

    def audit(self, _: web.Request, __: bytes) -> dict[str, Any]:
        return self._service.audit()

    def tasks(self, request: web.Request, _: bytes) -> dict[str, Any]:
        return {"tasks": self._service.tasks.histories(request.query.get("prefix", ""))}

    def describe(self, request: web.Request, _: bytes) -> dict[str, Any]:
        return document(servers=[(f"{request.url.origin()}{BASE_PATH}", "This simulator.")])

    def order_fault(self, _: web.Request, body: bytes) -> None:
        self._service.faults.order(fault_from_json(body))
        self._service.changes.tell("faults")

    def faults(self, _: web.Request, __: bytes) -> dict[str, Any]:
        return {"faults": self._service.faults.told()}

    def clear_faults(self, _: web.Request, __: bytes) -> None:
        self._service.faults.clear()
        self._service.changes.tell("faults")

    def remove_fault(self, request: web.Request, _: bytes) -> None:
        self._service.faults.remove(_number(request))
        self._service.changes.tell("faults")

    def clock(self, _: web.Request, __: bytes) -> dict[str, Any]:
        return {"now": self._service.instant(self._service.clock.now()), "speed": self._service.clock.speed}

    def turn(self, _: web.Request, body: bytes) -> dict[str, Any]:
        wanted = read_body(body, _ClockBody)
        if wanted.speed is not None:
            self._service.run_at(wanted.speed)
        self._service.advance(wanted.advance_seconds)
        return {"now": self._service.instant(self._service.clock.now())}

    def late(self, _: web.Request, __: bytes) -> dict[str, Any]:
        return {"late": self._service.late.described()}

    def restore(self, _: web.Request, body: bytes) -> dict[str, Any]:
        required = read_body(body, _RestoreBody)
        if (required.at is None) == (required.seconds_ago is None):
            raise ValueError("send at, in seconds since the epoch, or seconds_ago, and not both")
        moment = self._service.clock.now() - (required.seconds_ago or 0) if required.at is None else required.at
        self._service.restore(moment)
        return {"at": moment}

    def reset(self, _: web.Request, __: bytes) -> None:
        self._sender.reset()
        self._service.reset()

    def new_code(self, _: web.Request, body: bytes) -> dict[str, Any]:
        caller = self._person(body)
        code = self._service.sign_in.new_code(caller, self._service.clock.now())
        return {"code": code, "client_key": caller.account.client_key, "secret_key": caller.account.secret_key}

    def new_session(self, _: web.Request, body: bytes) -> dict[str, Any]:
        return {"session_id": self._service.sign_in.new_session(self._person(body), self._service.clock.now())}

    def revoke(self, _: web.Request, body: bytes) -> None:
        self._service.sign_in.revoke(self._service.account(read_body(body, _AccountBody).account).name)

    def move(self, request: web.Request, body: bytes) -> dict[str, Any]:
        wanted = read_body(body, _StatusBody)
        name = request.match_info["task_id"]
        return self._service.move(name, wanted.status, force=wanted.force, through=wanted.through, note=wanted.note)

    def remove(self, request: web.Request, _: bytes) -> None:
        self._service.tasks.remove(request.match_info["task_id"])

    def webhooks(self, _: web.Request, __: bytes) -> dict[str, Any]:
        return {"urls": self._service.webhook_urls, "events": self._service.events.told()}

    def set_webhook(self, _: web.Request, body: bytes) -> dict[str, Any]:
        wanted = read_body(body, _WebhookBody)
        self._service.set_webhook(wanted.url, wanted.account)
        return {"urls": self._service.webhook_urls}

    def resend(self, request: web.Request, _: bytes) -> None:
        self._sender.resend(_number(request))

    def requests(self, _: web.Request, __: bytes) -> dict[str, Any]:
        return {"requests": [call.told() for call in self._service.requests.latest(MOST_REQUESTS)]}

    def seed(self, _: web.Request, body: bytes) -> dict[str, Any]:
        wanted = read_body(body, _SeedBody) if body else _SeedBody()
        return {"tasks": seed_a_day(self._service, wanted.orders, self._service.account(wanted.account))}

    def _person(self, body: bytes) -> Caller:
        wanted = read_body(body, _PersonBody)
        return self._service.caller(wanted.account, wanted.email)


def _number(request: web.Request) -> int:
    text = request.match_info["number"]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise LookupError(f"there is nothing of the number {text!r}")
    return int(text)


def _handler(action: Action, service: Service, sender: Sender) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Do it and answer its result, or say why it cannot be done.

    Always in this shape: the switches are about GotSurge's answers, not about these.
    """

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            service.catch_up(service.clock.now())
            reply = json_reply(action(request, body) or {})
        except LookupError as error:
            reply = json_reply({"message": error.args[0]}, 404)
        except (ValueError, RefusedError) as error:
            reply = json_reply({"message": str(error)}, 422)
        sender.send(service.take_fresh())
        return web.Response(status=reply.status, body=reply.body, content_type=reply.content_type)

    return handle
