"""The calls that only a simulator has: its counts, its faults, and its clock. No fault strikes them."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from aiohttp import web

from gotsurge_async.api.openapi import document
from gotsurge_async.simulator.app import BASE_PATH
from gotsurge_async.simulator.faults import fault_from_json
from gotsurge_async.simulator.operations.checks import read_body
from gotsurge_async.simulator.replies import RefusedError, json_reply, number_in
from gotsurge_async.simulator.state.service import Service
from gotsurge_async.simulator.webhooks import Sender

if TYPE_CHECKING:
    from gotsurge_async.simulator.server import Simulator

PREFIX = "/_simulator"


class _Clock(msgspec.Struct, forbid_unknown_fields=True):
    advance_seconds: float = 0.0
    speed: float | None = None


class _Restore(msgspec.Struct, forbid_unknown_fields=True):
    at: float | None = None
    seconds_ago: Annotated[float, msgspec.Meta(ge=0)] | None = None

    def moment(self, now: float) -> float:
        """The time to restore; raises ValueError unless exactly one of both fields gives it."""
        if (self.at is None) == (self.seconds_ago is None):
            raise ValueError("send at, in seconds since the epoch, or seconds_ago, and not both")
        return now - (self.seconds_ago or 0) if self.at is None else self.at


class _Seed(msgspec.Struct, forbid_unknown_fields=True):
    orders: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 40
    account: str = "platform"


class _Webhook(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    account: str | None = None


class _Person(msgspec.Struct, forbid_unknown_fields=True):
    account: str
    email: str | None = None


class _Account(msgspec.Struct, forbid_unknown_fields=True):
    account: str


class _Status(msgspec.Struct, forbid_unknown_fields=True):
    status: str
    force: bool = False
    through: bool = False
    note: str = ""


Action = Callable[[web.Request, Any], Any]
"""Receives a request and the content of its body, and returns the answer for JSON; None for an empty object."""
Route = tuple[str, str, Callable[[bytes], Any], Action]
"""A verb, a path, the reader of the body, and the action."""


def add_control(app: web.Application, simulator: "Simulator", service: Service, sender: Sender) -> None:
    """Serve these calls under `PREFIX`, with the OpenAPI document of the simulator."""
    for verb, path, read, action in (*_reads(simulator, service), *_writes(simulator, service)):
        app.router.add_route(verb, f"{PREFIX}/{path}", _handler(sender, read, action))


def _reads(simulator: "Simulator", service: Service) -> tuple[Route, ...]:
    return (
        ("GET", "world", bytes, lambda *_: {"world": service.world}),
        ("GET", "changes", bytes, lambda *_: {"world": service.world, **service.changes}),
        ("GET", "audit", bytes, lambda *_: simulator.audit()),
        ("GET", "tasks", bytes, lambda request, _: {"tasks": simulator.tasks(request.query.get("prefix", ""))}),
        ("GET", "faults", bytes, lambda *_: {"faults": service.faults.described()}),
        ("GET", "clock", bytes, lambda *_: {**_now(service), "speed": service.clock.speed}),
        ("GET", "late", bytes, lambda *_: {"late": simulator.late_calls()}),
        ("GET", "webhooks", bytes, lambda *_: {"urls": service.webhook_urls, "events": simulator.webhooks()}),
        ("GET", "requests", bytes, lambda *_: {"requests": [call.described() for call in service.requests.latest()]}),
        (
            *("GET", "openapi.json", bytes),
            lambda request, _: document(servers=[(f"{request.url.origin()}{BASE_PATH}", "This simulator.")]),
        ),
    )


def _writes(simulator: "Simulator", service: Service) -> tuple[Route, ...]:
    def turn(_: web.Request, body: _Clock) -> dict[str, Any]:
        if body.speed is not None:
            simulator.run_at(body.speed)
        simulator.advance(body.advance_seconds)
        return _now(service)

    def restore(_: web.Request, body: _Restore) -> dict[str, Any]:
        moment = body.moment(service.clock.now())
        simulator.restore(moment)
        return {"at": moment}

    def new_code(_: web.Request, body: _Person) -> dict[str, Any]:
        code = simulator.new_code(body.account, body.email)
        account = simulator.accounts[body.account]
        return {"code": code, "client_key": account.client_key, "secret_key": account.secret_key}

    def new_session(_: web.Request, body: _Person) -> dict[str, Any]:
        return {"session_id": simulator.new_session(body.account, body.email)}

    def move(request: web.Request, body: _Status) -> dict[str, Any]:
        name = request.match_info["task_id"]
        return service.move(name, body.status, force=body.force, through=body.through, note=body.note)

    def set_webhook(_: web.Request, body: _Webhook) -> dict[str, Any]:
        simulator.set_webhook(body.url, body.account)
        return {"urls": service.webhook_urls}

    def read_seed(body: bytes) -> _Seed:
        return read_body(body, _Seed) if body else _Seed()

    def seed(_: web.Request, body: _Seed) -> dict[str, Any]:
        return {"tasks": simulator.seed_a_day(body.orders, body.account)}

    return (
        ("POST", "faults", fault_from_json, lambda _, fault: simulator.order_fault(fault)),
        ("DELETE", "faults", bytes, lambda *_: simulator.clear_faults()),
        (
            "DELETE",
            "faults/{number}",
            bytes,
            lambda request, _: service.faults.remove(number_in(request.match_info["number"])),
        ),
        ("POST", "clock", partial(read_body, kind=_Clock), turn),
        ("POST", "restore", partial(read_body, kind=_Restore), restore),
        ("POST", "reset", bytes, lambda *_: simulator.reset()),
        ("POST", "code", partial(read_body, kind=_Person), new_code),
        ("POST", "session", partial(read_body, kind=_Person), new_session),
        ("POST", "revoke", partial(read_body, kind=_Account), lambda _, body: simulator.revoke(body.account)),
        ("POST", "tasks/{task_id}/status", partial(read_body, kind=_Status), move),
        ("DELETE", "tasks/{task_id}", bytes, lambda request, _: simulator.remove(request.match_info["task_id"])),
        ("POST", "webhooks", partial(read_body, kind=_Webhook), set_webhook),
        (
            "POST",
            "webhooks/{number}/resend",
            bytes,
            lambda request, _: simulator.resend(number_in(request.match_info["number"])),
        ),
        ("POST", "seed", read_seed, seed),
    )


def _now(service: Service) -> dict[str, str]:
    return {"now": service.instant(service.clock.now())}


def _handler(
    sender: Sender, read: Callable[[bytes], Any], action: Action
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Make a handler that runs an action, and answers its result, or why it failed.

    The answers always have this shape: the switches change only GotSurge's answers.
    """

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            sender.catch_up()
            reply = json_reply(action(request, read(body)) or {})
        except LookupError as error:
            reply = json_reply({"message": error.args[0]}, 404)
        except (ValueError, RefusedError) as error:
            reply = json_reply({"message": str(error)}, 422)
        sender.send_new()
        return web.Response(status=reply.status, body=reply.body, content_type=reply.content_type)

    return handle
