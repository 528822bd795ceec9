"""A worker is cut off from the database, from the service, and from both, and healed; the service's audit judges."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests.chaos.crew import Service, until
from tests.chaos.nets import NET, Way, proxies, way
from tests.chaos.storm import LEASE, Storm, lose_answers, storm, verdict_of, weather
from tests.conftest import CRASH_SEED
from tests.support.postgres import Server, server

ORDERS = int(os.environ.get("CHAOS_NET_ORDERS", "4000"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """A server for the module, which lets in who comes from a namespace."""
    with server() as running:
        running.let_in(NET)
        yield running


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that answers after a while, and loses one of a hundred answers."""
    with Service(tmp_path / "service") as running:
        running.order(operation="*", kind="delay", seconds=0.1)
        lose_answers(running, 0.01)
        yield running


def cut_off(place: int, net: Way, *ports: int) -> Callable[[Storm], None]:
    """Cuts a worker off, until long after others may have what it had in hand."""

    def blow(push: Storm) -> None:
        alone = push.crew.workers[place]
        until(lambda: push.watch.held_by(alone) or push.tick(), 30, "the one who is to be cut off to have something")
        net.cut(*ports)
        push.done.append(f"worker {place} cut off")
        push.later.append((time.monotonic() + 3 * LEASE, net.heal))

    return blow


@pytest.mark.parametrize("mode", ["direct", "two-phase"])
def test_one_who_is_cut_off_and_healed_loses_and_doubles_nothing(
    mode: str, tmp_path: Path, service: Service, postgres: Server
) -> None:
    """Cut off from the database, from the service, from both: no order is lost or doubled, and all words are true."""
    database = int(re.findall(r":(\d+)/", postgres.url)[0])
    ports = (database, service.port)
    with ExitStack() as stack:
        nets = [stack.enter_context(way(place, ports)) for place in range(3)]
        blows = [
            (0.1, cut_off(0, nets[0], database)),
            (0.25, cut_off(1, nets[1], service.port)),
            (0.4, cut_off(2, nets[2], *ports)),
        ]
        ready = storm(
            tmp_path,
            service,
            postgres,
            mode,
            orders=ORDERS,
            seed=CRASH_SEED,
            words=("--rate", "8" if mode == "direct" else "16"),
            prefixes={place: net.prefix for place, net in enumerate(nets)},
            reached_by={place: net.ports for place, net in enumerate(nets)},
        )
        push, keys = stack.enter_context(ready)
        weather(push, blows, every=None, seconds=150)
        push.crew.close()
        verdict = verdict_of(push, keys)
        print(f"{mode}, {type(nets[0]).__name__}: {push.done}, {dict(verdict.states)}, ended {push.crew.ended}")
    assert not verdict.faults, verdict.faults
    assert verdict.states["created"] + len(verdict.in_doubt) == ORDERS
    assert mode == "direct" or not verdict.in_doubt


GET = """
import sys, urllib.request
try:
    print(urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/_simulator/clock", timeout=1).status)
except OSError as error:
    print("silence" if isinstance(getattr(error, "reason", error), TimeoutError) else error)
"""


@pytest.mark.parametrize("make", [lambda ports: way(2, ports), proxies], ids=["way", "proxies"])
def test_what_is_cut_is_silent_until_it_is_healed(
    make: Callable[[Sequence[int]], AbstractContextManager[Way]], tmp_path: Path
) -> None:
    """No byte goes through a way that is cut, and all do before and after it; another port is not touched."""
    with Service(tmp_path / "one") as one, Service(tmp_path / "two") as two, make([one.port, two.port]) as net:

        def said(port: int) -> str:
            command = [*net.prefix, sys.executable, "-c", GET, str(net.ports[port])]
            return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip()

        assert (said(one.port), said(two.port)) == ("200", "200")
        net.cut(one.port)
        assert (said(one.port), said(two.port)) == ("silence", "200")
        net.heal()
        assert (said(one.port), said(two.port)) == ("200", "200")
