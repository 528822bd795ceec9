"""What only a simulator has: the count, faults to order, a clock to turn. It never suffers faults itself."""

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from gotsurge_async.simulator.checks import read_body
from gotsurge_async.simulator.faults import FaultBook, fault_from_json
from gotsurge_async.simulator.replies import Caller, RefusedError, Reply, json_reply
from gotsurge_async.simulator.service import Service

PREFIX = "/_simulator"


class _ClockBody(msgspec.Struct, forbid_unknown_fields=True):
    advance_seconds: float


class _PersonBody(msgspec.Struct, forbid_unknown_fields=True):
    account: str
    email: str | None = None


class _AccountBody(msgspec.Struct, forbid_unknown_fields=True):
    account: str


class _StatusBody(msgspec.Struct, forbid_unknown_fields=True):
    status: str
    force: bool = False


def add_back_door(app: web.Application, service: Service, faults: FaultBook) -> None:
    """Serve the back door."""
    door = _BackDoor(service, faults)
    app.router.add_get(f"{PREFIX}/audit", door.audit)
    app.router.add_get(f"{PREFIX}/tasks", door.tasks)
    app.router.add_post(f"{PREFIX}/faults", door.order_fault)
    app.router.add_delete(f"{PREFIX}/faults", door.clear_faults)
    app.router.add_post(f"{PREFIX}/clock", door.advance)
    app.router.add_post(f"{PREFIX}/reset", door.reset)
    app.router.add_post(f"{PREFIX}/code", door.code)
    app.router.add_post(f"{PREFIX}/session", door.session)
    app.router.add_post(f"{PREFIX}/revoke", door.revoke)
    app.router.add_post(f"{PREFIX}/tasks/{{task_id}}/status", door.move)
    app.router.add_delete(f"{PREFIX}/tasks/{{task_id}}", door.remove)


class _BackDoor:
    def __init__(self, service: Service, faults: FaultBook) -> None:
        self._service = service
        self._faults = faults

    async def audit(self, _: web.Request) -> web.Response:
        return _respond(json_reply(self._service.audit()))

    async def tasks(self, request: web.Request) -> web.Response:
        prefix = request.query.get("prefix", "")
        return _respond(json_reply({"tasks": self._service.book.histories(prefix)}))

    async def order_fault(self, request: web.Request) -> web.Response:
        body = await request.read()
        return _done(lambda: self._faults.order(fault_from_json(body)))

    async def clear_faults(self, _: web.Request) -> web.Response:
        return _done(self._faults.clear)

    async def advance(self, request: web.Request) -> web.Response:
        body = await request.read()

        def advance() -> dict[str, Any]:
            wanted: _ClockBody = read_body(body, _ClockBody)
            self._service.clock.advance(wanted.advance_seconds)
            return {"now": self._service.instant(self._service.clock.now())}

        return _done(advance)

    async def reset(self, _: web.Request) -> web.Response:
        self._faults.clear()
        return _done(self._service.reset)

    async def code(self, request: web.Request) -> web.Response:
        body = await request.read()

        def issue() -> dict[str, Any]:
            caller = self._person(body)
            code = self._service.sign_in.new_code(caller, self._service.clock.now())
            keys = {"client_key": caller.account.client_key, "secret_key": caller.account.secret_key}
            return {"code": code, **keys}

        return _done(issue)

    async def session(self, request: web.Request) -> web.Response:
        body = await request.read()

        def issue() -> dict[str, Any]:
            caller = self._person(body)
            return {"session_id": self._service.sign_in.new_session(caller, self._service.clock.now())}

        return _done(issue)

    async def revoke(self, request: web.Request) -> web.Response:
        body = await request.read()

        def revoke() -> None:
            wanted: _AccountBody = read_body(body, _AccountBody)
            self._service.sign_in.revoke(self._service.account(wanted.account).name)

        return _done(revoke)

    async def move(self, request: web.Request) -> web.Response:
        body = await request.read()

        def move() -> None:
            wanted: _StatusBody = read_body(body, _StatusBody)
            self._service.move(request.match_info["task_id"], wanted.status, force=wanted.force)

        return _done(move)

    async def remove(self, request: web.Request) -> web.Response:
        return _done(lambda: self._service.remove(request.match_info["task_id"]))

    def _person(self, body: bytes) -> Caller:
        wanted: _PersonBody = read_body(body, _PersonBody)
        return self._service.caller(wanted.account, wanted.email)


def _done(action: Callable[[], dict[str, Any] | None]) -> web.Response:
    """Do it and answer its result, or say why it cannot be done.

    Always in this shape: the switches are about GotSurge's answers, not about these.
    """
    try:
        return _respond(json_reply(action() or {}))
    except LookupError as error:
        return _respond(json_reply({"message": error.args[0]}, 404))
    except (ValueError, RefusedError) as error:
        return _respond(json_reply({"message": str(error)}, 422))


def _respond(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, content_type=reply.content_type)
