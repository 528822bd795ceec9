"""Answers that were recorded once, from a simulator or GotSurge's sandbox, and are played in tests without a network::

    recorder = Recorder(AiohttpTransport(), "answers.jsonl")
    async with GotSurge("sandbox", token_store=store, transport=recorder) as gs:
        await gs.tasks.get(task_id)

    async with GotSurge("sandbox", bearer_token="any", transport=Recorded("answers.jsonl")) as gs:
        await gs.tasks.get(task_id)

A line of the file is one try of a call: its request and its answer. No header of a request is in it, and of an
answer only harmless ones; the calls of a sign-in, which carry no bearer token and bring secrets, are not recorded.
Bodies are as they came, with the token hidden: they may hold people's names, so the file is its owner's alone.
"""

import os
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from gotsurge_async.secrets import HIDDEN, Secret, headers_for_log, without
from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response, Transport, TransportError

__all__ = ["Recorded", "Recorder"]


class Entry(msgspec.Struct, omit_defaults=True):
    """One try of a call, as a line of the file; its URL is without scheme and host.

    Attributes:
        body: the body of the request, with replacements for bytes that are not UTF-8.
        failure: ``nothing sent`` or ``maybe sent`` if there was no answer.
    """

    method: str
    url: str
    body: str = ""
    status: int = 0
    headers: dict[str, str] = {}
    answer: str = ""
    failure: str = ""
    reason: str = ""


class Recorder:
    """Sends by another transport, which it closes, and writes each call with its answer.

    Args:
        transport: sends the calls.
        path: the new file, with mode 0600.

    Raises:
        FileExistsError: the file exists.
    """

    def __init__(self, transport: Transport, path: str | Path) -> None:
        self._transport = transport
        self._file = os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")

    async def send(self, request: Request) -> Response:
        """Send a request, and write it with its answer; a call without a bearer token is sent and not written."""
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            answer = await self._transport.send(request)
        except TransportError as error:
            failure = "nothing sent" if isinstance(error, NothingSent) else "maybe sent"
            self._write(request, bearer, failure=failure, reason=error.reason)
            raise
        headers = {name: value for name, value in headers_for_log(answer.headers).items() if value != HIDDEN}
        self._write(request, bearer, status=answer.status, headers=headers, answer=_text(answer.body, bearer))
        return answer

    def _write(self, request: Request, bearer: str, **came: Any) -> None:
        if bearer:
            entry = Entry(request.method, _path(request.url), _text(request.body or b"", bearer), **came)
            self._file.write(msgspec.json.encode(entry) + b"\n")

    async def close(self) -> None:
        """Close the file, and the transport."""
        self._file.close()
        await self._transport.close()


class Recorded:
    """Answers from a file of `Recorder`: for each verb and URL in the order in which they came.

    Attributes:
        sent: every request, in order.

    Raises:
        ValueError: a line of the file is not of a recording.
    """

    def __init__(self, path: str | Path) -> None:
        self.sent: list[Request] = []
        self._left: dict[tuple[str, str], deque[Entry]] = {}
        for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
            try:
                entry = msgspec.json.decode(line, type=Entry)
            except msgspec.DecodeError as error:
                raise ValueError(f"{path}, line {number}: not of a recording: {error}") from None
            self._left.setdefault((entry.method, entry.url), deque()).append(entry)

    @property
    def left(self) -> list[tuple[str, str]]:
        """Verb and URL of the recorded calls that were not made."""
        return [asked for asked, entries in self._left.items() for _ in entries]

    async def send(self, request: Request) -> Response:
        """Answer, or fail, as it was recorded.

        Raises:
            AssertionError: the call was not recorded, or not as often.
        """
        self.sent.append(request)
        entries = self._left.get((request.method, _path(request.url)))
        if not entries:
            raise AssertionError(f"{request.method} {_path(request.url)} was not recorded, or not as often")
        entry = entries.popleft()
        if entry.failure:
            raise (NothingSent if entry.failure == "nothing sent" else MaybeSent)(entry.reason)
        return Response(status=entry.status, headers=entry.headers, body=entry.answer.encode())

    async def close(self) -> None:
        """Do nothing: a recording keeps no file open."""


def _path(url: str) -> str:
    """The URL without scheme and host, so that a recording serves on any host."""
    return "/" + url.partition("://")[2].partition("/")[2]


def _text(body: bytes, bearer: str) -> str:
    text = body.decode("utf-8", "replace")
    return without(text, [Secret(bearer)]) if bearer else text
