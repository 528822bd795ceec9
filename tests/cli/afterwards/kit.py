"""What the tests of these commands share: a place that posts go to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
from attrs import define, field


@define(eq=False)
class Mailbox:
    """Takes posts, and answers each with the next of some statuses, then with 200."""

    url: str
    statuses: list[int] = field(factory=list)
    texts: list[str] = field(factory=list)
    got: threading.Semaphore = field(factory=lambda: threading.Semaphore(0))


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """A server for posts inside the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = msgspec.json.decode(self.rfile.read(int(self.headers["Content-Length"])))
            assert set(body) == {"text"}
            status = box.statuses.pop(0) if box.statuses else 200
            if status == 200:
                box.texts.append(body["text"])
                box.got.release()
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))  # it ends so soon
    box = Mailbox(f"http://127.0.0.1:{server.server_port}/services/S3CRET")
    thread.start()
    try:
        yield box
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
