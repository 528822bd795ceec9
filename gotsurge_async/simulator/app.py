"""The simulator over HTTP: routes from the endpoint table, and the effect of faults on answers."""

import asyncio
import socket
import struct
import time
from contextlib import suppress
from typing import Any, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from attrs import evolve, frozen

from gotsurge_async.api.endpoints import ENDPOINTS
from gotsurge_async.simulator.faults import Fault, LateCall, Plan
from gotsurge_async.simulator.operations import perform
from gotsurge_async.simulator.replies import Call, RefusedError, Reply, refusal_reply
from gotsurge_async.simulator.state.clock import write_http_date
from gotsurge_async.simulator.state.log import LoggedCall
from gotsurge_async.simulator.state.service import Service
from gotsurge_async.simulator.webhooks import Sender

BASE_PATH = "/api/partnership/v1"
_GARBAGE = b"\x16\x03\x01 this is no HTTP\r\n\r\n"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Broken(web.Response):
    """An answer that never arrives whole: the fault decides what the client receives instead."""

    def __init__(self, kind: str, reply: Reply) -> None:
        super().__init__()
        self._kind = kind
        self._reply = reply

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Break the answer as the fault says, and raise an error that makes aiohttp close the connection."""
        transport = request.transport
        if transport is not None:
            if self._kind == "silent":
                await _ended(request)
            elif self._kind == "reset":
                peer: socket.socket = transport.get_extra_info("socket")
                # Without this, closing sends FIN unless bytes are unread: the peer is to see a real RST.
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                transport.abort()
            else:
                transport.write(_GARBAGE if self._kind == "garbage" else _half(self._reply))
                transport.close()
        raise ConnectionResetError(f"a fault was requested: {self._kind}")


class _Watched:
    """Passes every event of a connection to its protocol, and notes when the connection has ended."""

    def __init__(self, protocol: web.RequestHandler) -> None:
        self._protocol = protocol
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __getattr__(self, event: str) -> Any:
        return getattr(self._protocol, event)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._protocol.connection_lost(exc)
        if not self.ended.done():
            self.ended.set_result(None)


async def _ended(request: web.BaseRequest) -> None:
    """Wait until the client has closed the connection, or its process has ended."""
    transport = request.transport
    if transport is not None and not transport.is_closing():
        watched = _Watched(request.protocol)
        transport.set_protocol(cast("asyncio.Protocol", watched))
        await watched.ended


def _half(reply: Reply) -> bytes:
    body = reply.body or b'{"message": "this answer ends too early"}'
    head = f"HTTP/1.1 {reply.status} OK\r\nContent-Type: {reply.content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body[: len(body) // 2]


def _whole(reply: Reply) -> web.Response:
    response = web.Response(status=reply.status, body=reply.body or None, headers=reply.headers)
    if reply.body:
        response.headers["Content-Type"] = reply.content_type
    return response


def add_operations(app: web.Application, service: Service, sender: Sender) -> None:
    """Serve every operation of the endpoint table under the base path."""
    for endpoint in ENDPOINTS.values():
        operation = _Operation(endpoint.name, endpoint.path, service, sender)
        app.router.add_route(endpoint.verb, BASE_PATH + endpoint.path, operation.handle)


@frozen
class _Operation:
    """One operation over HTTP, with the faults that strike its calls."""

    name: str
    path: str
    service: Service
    sender: Sender

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a call, and log it."""
        began = time.perf_counter()
        service = self.service
        service.calls.note(self.name)
        plan = service.faults.plan(self.name)
        hides_path = "{signature}" in self.path
        logged = LoggedCall(
            operation=self.name,
            verb=request.method,
            path=self.path if hides_path else request.path_qs.removeprefix(BASE_PATH),
            at=service.clock.now(),
            agent=request.headers.get("User-Agent", ""),
            authorized="Authorization" in request.headers,
            account=service.sign_in.account_of(request.headers.get("Authorization", "")),
            task_id=request.match_info.get("task_id", ""),
        )
        try:
            response = await self._answer(request, plan, logged)
            if not isinstance(response, Broken):
                logged.take_answer(response.status, response.body)
            return response
        finally:
            logged.seconds = time.perf_counter() - began
            service.requests.add(logged)
            service.note("requests")

    async def _answer(self, request: web.Request, plan: Plan, logged: LoggedCall) -> web.Response:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            text = f"The body is longer than {self.service.options.body_limit} bytes"
            return _whole(refusal_reply(RefusedError(413, "too_large", text), self.service.options))
        logged.take_body(body)
        logged.faults = plan.names
        ending = await _strike(plan.before)
        if ending is not None:
            return self._struck(ending, Reply(200))
        outcome = await self._outcome(request, body, plan, logged)
        if isinstance(outcome, Fault):
            return self._struck(outcome, Reply(200))
        fresh = self.service.take_fresh()
        events = await self.sender.send_early(fresh) if fresh else fresh
        try:
            ending = await _strike(plan.after)
            response = _whole(outcome) if ending is None else self._struck(ending, outcome)
            if events and not isinstance(response, Broken):
                with suppress(ConnectionError):
                    await response.prepare(request)
                    await response.write_eof()
            return response
        finally:
            # Usually after the answer: who creates a task knows its id before its event comes.
            self.sender.send(events)

    async def _outcome(self, request: web.Request, body: bytes, plan: Plan, logged: LoggedCall) -> Reply | Fault:
        """The reply to a call that has taken effect, or the fault that its client meets instead."""
        call = Call(
            body=body,
            path=request.match_info,
            query=request.query,
            authorization=request.headers.get("Authorization", ""),
            now=self.service.clock.now(),
            hides_for=plan.seconds("hidden"),
            lag=plan.seconds("outdated"),
            reuses_ids=plan.bends_by("reused"),
        )
        self.service.catch_up(call.now)
        fault = plan.late
        if fault is None:
            return self._act(call, plan)
        late = LateCall(self.name, call.path.get("task_id", ""), call.now)
        self.service.late.add(late)
        self.service.note("faults")
        if fault.kind == "silent":
            await _ended(request)
        self._put_off(late, fault.seconds, call, plan, logged)
        if fault.ends_the_call:
            return fault
        reply = await late.reply()
        return Fault() if reply is None else reply

    def _put_off(self, late: LateCall, seconds: float, call: Call, plan: Plan, logged: LoggedCall) -> None:
        def act(moment: float) -> None:
            if self.service.late.take(late):
                reply = self._act(evolve(call, now=moment), plan)
                logged.acted_at, logged.acted_status = moment, reply.status
                late.end(reply)
                self.service.note("faults")
                self.service.note("requests")

        late.acts_at = self.service.clock.now() + seconds
        self.service.plan(late.acts_at, act)
        self.service.note("faults")

    def _act(self, call: Call, plan: Plan) -> Reply:
        if plan.bends_by("restored"):
            self.service.restore(call.now - plan.seconds("restored"))
        return perform(self.service, self.name, call)

    def _struck(self, fault: Fault, reply: Reply) -> web.Response:
        """The response to a call whose answer is lost to a fault."""
        if fault.kind != "status":
            return Broken(fault.kind, reply)
        refused = RefusedError(fault.status, "fault", f"A fault was requested: {fault.status}")
        response = _whole(refusal_reply(refused, self.service.options))
        response.headers.update(fault.headers)
        wait = response.headers.get("Retry-After", "")
        if wait.isdigit() and self.service.options.retry_after == "date":
            now = self.service.clock.now()
            response.headers["Retry-After"] = write_http_date(now + int(wait))
            # A date is read against the sender's own clock, which may have been turned.
            response.headers["Date"] = write_http_date(now)
        return response


async def _strike(planned: tuple[Fault, ...]) -> Fault | None:
    """Wait for the delays, and return the fault that ends the call, if there is one: the last."""
    for fault in planned:
        if fault.ends_the_call:
            return fault
        await asyncio.sleep(fault.seconds)
    return None
