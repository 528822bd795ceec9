import socket
import time

import pytest

from gotsurge_async import GotSurge
from gotsurge_async.cli.service import sign_in
from gotsurge_async.config import Credentials, Environment
from gotsurge_async.errors import SignInFailed
from gotsurge_async.secrets import Secret

pytestmark = pytest.mark.slow  # it waits two seconds


async def test_a_request_that_is_held_open_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any page in the browser can begin a request and never end it: the command ends two seconds later all the same."""
    held: list[socket.socket] = []
    with socket.create_server((sign_in.HOST, 0)) as free:
        port = free.getsockname()[1]

    def hold(_: str) -> bool:
        held.append(socket.create_connection((sign_in.HOST, port)))
        held[0].sendall(b"POST /callback HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        return True

    monkeypatch.setattr(sign_in.webbrowser, "open", hold)
    credentials = Credentials(client_key="key", secret_key=Secret("secret"))
    gs = GotSurge(Environment.named("local", api_base="http://127.0.0.1:9/api"), credentials=credentials)
    began = time.monotonic()
    try:
        with pytest.raises(SignInFailed, match="the sign-in was not completed"):
            await sign_in.sign_in_with_browser(gs.oauth, "plain", port=port, timeout=0.5)
    finally:
        await gs.close()
        held[0].close()
    assert time.monotonic() - began < 6
