"""Ways from a worker to the database and the service that can be cut, and healed.

A network namespace, where the machine allows it: the worker stands alone on it, and what leads out drops what it is
told to drop, without a word, in both directions. Else proxies that stop moving bytes, which is less: the worker's own
system is answered by the proxy's, so nothing is ever sent again, and no connection ends for that.
"""

import asyncio
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

HOST = "127.0.0.1"
NET = "10.0.0.0/8"
"""Where those in namespaces come from."""


class Way(Protocol):
    """A way that can be cut.

    Attributes:
        prefix: what a worker that is to go it is started by.
        ports: by which ports the worker finds what listens here, on its own 127.0.0.1.
    """

    prefix: Sequence[str]
    ports: Mapping[int, int]

    def cut(self, *ports: int) -> None:
        """Let nothing through to or from some ports, nor back."""

    def heal(self) -> None:
        """Let everything through."""


def why_no_namespaces() -> str:
    """Why this machine has no network namespaces for us; "" if it has."""
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    for program in ("ip", "nft"):
        if shutil.which(program) is None:
            return f"there is no {program}"
    name = f"gotsurge-try-{os.getpid()}"
    try:
        _run("ip", "netns", "add", name)
        _run("ip", "netns", "exec", name, "nft", "add", "table", "inet", "gotsurge")
    except AssertionError as error:
        return str(error)
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return ""


@contextmanager
def way(number: int, ports: Sequence[int]) -> Iterator[Way]:
    """A way to some ports of this machine: by a namespace if that can be, else by proxies, which is said loudly."""
    why_not = why_no_namespaces()
    if why_not:
        print(f"\n*** NO NETWORK NAMESPACES: {why_not}. Proxies that drop bytes stand in for them. ***")
    with proxies(ports) if why_not else namespace(number, ports) as made:
        yield made


# --- by a namespace ---------------------------------------------------------------------------------------------------


class Namespace:
    """A namespace of its own, whose 127.0.0.1 is this machine's: so a service that listens there alone is reached."""

    def __init__(self, name: str, ports: Sequence[int]) -> None:
        self._name = name
        self.prefix: Sequence[str] = ("ip", "netns", "exec", name)
        self.ports: Mapping[int, int] = {port: port for port in ports}

    def cut(self, *ports: int) -> None:
        """Drop every packet, in both directions."""
        among = f"{{ {', '.join(map(str, ports))} }}"
        self._filter(
            f"""table inet gotsurge {{
              chain out {{ type filter hook output priority 0; tcp dport {among} drop; }}
              chain back {{ type filter hook input priority 0; tcp sport {among} drop; }}
            }}"""
        )

    def heal(self) -> None:
        """Drop nothing."""
        self._filter("")

    def _filter(self, rules: str) -> None:
        _run(*self.prefix, "nft", "-f", "-", text=f"flush ruleset\n{rules}\n")


@contextmanager
def namespace(number: int, ports: Sequence[int]) -> Iterator[Namespace]:
    """A namespace that leads here over a cable of its own."""
    mark = f"{os.getpid() % 65536:04x}{number}"
    name, here, there = f"gotsurge-{mark}", f"gsa{mark}", f"gsb{mark}"
    net = f"10.{200 + number}.{os.getpid() % 250}"
    inside = ("ip", "netns", "exec", name)
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        _run("ip", "addr", "add", f"{net}.1/30", "dev", here)
        _run("ip", "link", "set", here, "up")
        _run(*inside, "ip", "addr", "add", f"{net}.2/30", "dev", there)
        _run(*inside, "ip", "link", "set", there, "up")
        # Its own loopback stays down, and what goes to 127.0.0.1 goes over the cable.
        _let_loopback_pass(here)
        _run(*inside, "sh", "-c", f"echo 1 > /proc/sys/net/ipv4/conf/{there}/route_localnet")
        _run(*inside, "ip", "route", "add", f"{HOST}/32", "via", f"{net}.1", "dev", there, "src", f"{net}.2")
        yield Namespace(name, ports)
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


def _let_loopback_pass(device: str) -> None:
    Path(f"/proc/sys/net/ipv4/conf/{device}/route_localnet").write_text("1")


def _run(*command: str, text: str = "") -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"


# --- by proxies -------------------------------------------------------------------------------------------------------


class Proxies:
    """A proxy before each port, in a thread of their own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.prefix: Sequence[str] = ()
        self.ports: dict[int, int] = {}
        self._loop = loop
        self._through: dict[int, asyncio.Event] = {}

    async def listen(self, port: int) -> asyncio.Server:
        """Stand before a port."""
        through = self._through[port] = asyncio.Event()
        through.set()

        async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                await through.wait()
                there, back = await asyncio.open_connection(HOST, port)
                await asyncio.gather(_move(reader, back, through), _move(there, writer, through))

        server = await asyncio.start_server(meet, HOST, 0)
        self.ports[port] = server.sockets[0].getsockname()[1]
        return server

    def cut(self, *ports: int) -> None:
        """Move no bytes."""
        for port in ports:
            self._loop.call_soon_threadsafe(self._through[port].clear)

    def heal(self) -> None:
        """Move all of them again."""
        for through in self._through.values():
            self._loop.call_soon_threadsafe(through.set)


@contextmanager
def proxies(ports: Sequence[int]) -> Iterator[Proxies]:
    """Proxies before some ports."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxies")
    thread.start()
    made = Proxies(loop)
    servers: list[asyncio.Server] = []
    try:
        servers += [asyncio.run_coroutine_threadsafe(made.listen(port), loop).result(10) for port in ports]
        yield made
    finally:
        for server in servers:
            loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(_end_all(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _move(source: asyncio.StreamReader, target: asyncio.StreamWriter, through: asyncio.Event) -> None:
    try:
        while data := await source.read(65536):
            await through.wait()
            target.write(data)
            await target.drain()
    finally:
        target.close()


async def _end_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
