"""The processes of a run: the server, and a worker for each work."""

import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import msgspec

from benchmarks.work import Setting

ROOT = Path(__file__).parent.parent


class Process:
    """A Python of the benchmarks that ends when its standard input does."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    def line(self) -> str:
        """Its next line."""
        said = _open(self._process.stdout).readline()
        if not said:
            raise SystemExit(f"{self._process.args!r} ended by itself (status {self._process.wait()}): see above")
        return said

    def tell(self, text: str) -> None:
        """Give it a line."""
        into = _open(self._process.stdin)
        into.write(text + "\n")
        into.flush()

    def close(self) -> None:
        """Let it end, and wait for that."""
        _open(self._process.stdin).close()
        self._process.wait(60)
        _open(self._process.stdout).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


class Server(Process):
    """The server in its process."""

    def __init__(self) -> None:
        super().__init__("benchmarks.server")
        self.port = int(self.line())
        self.origin = f"http://127.0.0.1:{self.port}"

    def reset(self, latency: float = 0.0) -> None:
        """Forget what came; answer after ``latency`` seconds from now on."""
        self._ask("/_reset", msgspec.json.encode({"latency": latency}))

    def counts(self) -> dict[str, Any]:
        """See `benchmarks.server.Books.counts`."""
        return self._ask("/_counts", b"")

    def _ask(self, path: str, body: bytes) -> dict[str, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", path, body)
            found: dict[str, Any] = msgspec.json.decode(connection.getresponse().read())
            return found
        finally:
            connection.close()


class Worker(Process):
    """A work in its process, opened and ready for rounds."""

    def __init__(self, work: str, setting: Setting) -> None:
        super().__init__("benchmarks.worker", work, msgspec.json.encode(setting).decode())
        self.reads: str = msgspec.json.decode(self.line())["reads"]

    def round(self) -> dict[str, Any]:
        """Have it do one round; see `benchmarks.worker.one_round`."""
        self.tell("")
        found: dict[str, Any] = msgspec.json.decode(self.line())
        return found
