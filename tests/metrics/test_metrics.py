"""`gotsurge_async.metrics`: what Prometheus reads of a client."""

import re

import aiohttp
import pytest

from gotsurge_async import CallError, NotFound, NotSent
from gotsurge_async.errors import ConfigError
from gotsurge_async.hooks import CallDone, ChunkDone, SignInRequired, TokenRefreshed
from gotsurge_async.metrics import _OUTCOMES, MOST_ACCOUNTS, Metrics, serving
from gotsurge_async.testing import START
from gotsurge_async.transports.base import MaybeSent, NothingSent
from gotsurge_async.version import __version__
from tests.support.clients import client
from tests.support.orders import answer, order

TASK = {"id": "t-1", "tracking_id": "T-1"}


def read(metrics: Metrics) -> dict[str, float]:
    """Each line that begins with our name."""
    found = re.findall(r"^(gotsurge_\S+) (\S+)$", metrics.text().decode(), re.MULTILINE)
    return {name: float(value) for name, value in found}


async def test_calls_and_their_tries_are_counted() -> None:
    """A call of three tries is one call and three requests, by operation, status and outcome."""
    metrics = Metrics()
    busy = answer({"message": "slow down"}, 429, retry_after="0")
    async with client([busy, busy, answer({"id": "t"}), answer({}, 404)]) as (gs, _):
        gs.hooks.add(metrics)
        await gs.tasks.get("t")
        with pytest.raises(NotFound):
            await gs.tasks.get("t")
    told = read(metrics)
    assert told['gotsurge_calls_total{account="default",operation="tasks.get",outcome="ok"}'] == 1
    assert told['gotsurge_calls_total{account="default",operation="tasks.get",outcome="NotFound"}'] == 1
    assert told['gotsurge_requests_total{operation="tasks.get",status="429"}'] == 2
    assert told['gotsurge_requests_total{operation="tasks.get",status="200"}'] == 1
    assert told['gotsurge_retries_total{account="default",operation="tasks.get"}'] == 2
    assert told['gotsurge_request_seconds_count{operation="tasks.get"}'] == 4


async def test_no_answer_is_counted() -> None:
    """A try without an answer has the status none."""
    metrics = Metrics()
    async with client([NothingSent("refused")] * 3) as (gs, _):
        gs.hooks.add(metrics)
        with pytest.raises(NotSent):
            await gs.tasks.get("t")
    told = read(metrics)
    assert told['gotsurge_requests_total{operation="tasks.get",status="none"}'] == 3
    assert told['gotsurge_calls_total{account="default",operation="tasks.get",outcome="NotSent"}'] == 1


def test_chunks_and_tokens_are_counted() -> None:
    """Orders by what became of them, new tokens, and sign-ins that were needed; what did not happen yet is 0."""
    metrics = Metrics()
    assert read(metrics)['gotsurge_orders_total{account="default",outcome="in_doubt"}'] == 0
    metrics(ChunkDone(created=17, refused=2, in_doubt=1, unprocessed=0, seconds=0.3, account="a"))
    metrics(TokenRefreshed(account="a", expires_at=START))
    metrics(SignInRequired(account="a", reason="refused"))
    told = read(metrics)
    assert told['gotsurge_orders_total{account="a",outcome="created"}'] == 17
    assert told['gotsurge_orders_total{account="a",outcome="refused"}'] == 2
    assert told["gotsurge_chunk_seconds_count"] == 1
    assert told['gotsurge_token_refreshes_total{account="a"}'] == 1
    assert told['gotsurge_sign_ins_required_total{account="a"}'] == 1
    assert told[f'gotsurge_build_info{{version="{__version__}"}}'] == 1


def test_the_accounts_are_bounded() -> None:
    """The first hundred accounts have a label of their own, all others share one."""
    metrics = Metrics()
    for number in range(MOST_ACCOUNTS + 5):
        metrics(CallDone(call=1, operation="tasks.get", seconds=0.1, account=f"a-{number}"))
    calls = [name for name in read(metrics) if name.startswith("gotsurge_calls_total")]
    assert len(calls) == MOST_ACCOUNTS
    assert read(metrics)['gotsurge_calls_total{account="other",operation="tasks.get",outcome="ok"}'] == 6


async def test_single_creates_are_counted() -> None:
    """The orders of a call that creates count as those of a push do: created, refused, in doubt or unprocessed."""
    metrics = Metrics()
    doubtful = answer({"tasks": [TASK, {"id": "another", "tracking_id": "of somebody else"}]})
    async with client([answer({"tasks": [TASK]}), answer({}, 400), MaybeSent("reset"), doubtful]) as (gs, _):
        gs.hooks.add(metrics)
        await gs.tasks.create([order()])
        for count in (1, 1, 2):
            with pytest.raises(CallError):
                await gs.tasks.create([order(), order(tracking_id="T-2")][:count])
    told = read(metrics)
    orders = {name: told[f'gotsurge_orders_total{{account="default",outcome="{name}"}}'] for name in _OUTCOMES}
    assert orders == {"created": 2, "refused": 1, "in_doubt": 2, "unprocessed": 0}


async def test_it_is_served_on_this_machine() -> None:
    """Prometheus reads it at /metrics, a supervisor asks /healthz; there is nothing else, for nobody elsewhere."""
    metrics = Metrics()
    metrics.show("gotsurge_places", "Calls that may be in flight.", lambda: 16)
    async with serving(metrics, 0) as url, aiohttp.ClientSession() as session:
        assert url.startswith("http://127.0.0.1:")
        async with session.get(f"{url}/metrics") as answered:
            assert answered.headers["Content-Type"].startswith("text/plain")
            text = await answered.text()
        assert "\ngotsurge_places 16.0\n" in text
        assert "\nprocess_resident_memory_bytes " in text
        async with session.get(f"{url}/healthz") as answered:
            assert (answered.status, await answered.text()) == (200, "ok\n")
        async with session.get(f"{url}/") as answered:
            assert answered.status == 404


async def test_a_taken_port_is_told() -> None:
    """The error says where metrics cannot be served."""
    async with serving(Metrics(), 0) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(ConfigError, match=f"metrics cannot be served at 127.0.0.1:{port}"):
            async with serving(Metrics(), port):
                pass
