"""What only a simulator has: the count, faults to order, a clock to turn. It never suffers faults itself."""

from typing import Any

import msgspec
from aiohttp import web

from .checks import read_body
from .faults import FaultBook, fault_from_json
from .replies import RefusedError, Reply, json_reply
from .service import Service

PREFIX = "/_simulator"


class _ClockBody(msgspec.Struct, forbid_unknown_fields=True):
    advance_seconds: float


class _CodeBody(msgspec.Struct, forbid_unknown_fields=True):
    account: str


def add_back_door(app: web.Application, service: Service, faults: FaultBook) -> None:
    """Serve the back door."""
    door = _BackDoor(service, faults)
    app.router.add_get(f"{PREFIX}/audit", door.audit)
    app.router.add_post(f"{PREFIX}/faults", door.order_fault)
    app.router.add_delete(f"{PREFIX}/faults", door.clear_faults)
    app.router.add_post(f"{PREFIX}/clock", door.advance)
    app.router.add_post(f"{PREFIX}/reset", door.reset)
    app.router.add_post(f"{PREFIX}/code", door.code)


class _BackDoor:
    def __init__(self, service: Service, faults: FaultBook) -> None:
        self._service = service
        self._faults = faults

    async def audit(self, _: web.Request) -> web.Response:
        return _answer(self._service.audit())

    async def order_fault(self, request: web.Request) -> web.Response:
        try:
            self._faults.order(fault_from_json(await request.read()))
        except (ValueError, TypeError) as error:
            return _refuse(error)
        return _answer({})

    async def clear_faults(self, _: web.Request) -> web.Response:
        self._faults.clear()
        return _answer({})

    async def advance(self, request: web.Request) -> web.Response:
        try:
            body: _ClockBody = read_body(await request.read(), _ClockBody)
            self._service.clock.advance(body.advance_seconds)
        except (ValueError, RefusedError) as error:
            return _refuse(error)
        return _answer({"now": self._service.instant(self._service.clock.now())})

    async def reset(self, _: web.Request) -> web.Response:
        self._faults.clear()
        self._service.reset()
        return _answer({})

    async def code(self, request: web.Request) -> web.Response:
        try:
            body: _CodeBody = read_body(await request.read(), _CodeBody)
            caller = self._service.caller(body.account)
        except (ValueError, RefusedError) as error:
            return _refuse(error)
        code = self._service.sign_in.new_code(caller, self._service.clock.now())
        keys = {"client_key": caller.account.client_key, "secret_key": caller.account.secret_key}
        return _answer({"code": code, **keys})


def _answer(content: dict[str, Any]) -> web.Response:
    return _respond(json_reply(content))


def _refuse(error: Exception) -> web.Response:
    # Always this shape: the switches are about GotSurge's answers, not about these.
    return _respond(json_reply({"message": str(error)}, 422))


def _respond(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, content_type=reply.content_type)
