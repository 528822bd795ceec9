"""Events that are sent on: signed, in order, until they are taken."""

import base64
from datetime import UTC, datetime

import pytest

from gotsurge_async import ConfigError, Secret
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response
from gotsurge_async.webhooks.forward import Forwarder, key_of, new_secret, signed
from gotsurge_async.webhooks.inbox import EventState, Stored
from tests.webhooks.kit import event


def test_the_example_of_the_specification() -> None:
    """The signature is that which the specification's own libraries give for their test message."""
    key = key_of(Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    headers = signed(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "whsec_!!!", base64.b64encode(b"x" * 32).decode(), "whsec_" + base64.b64encode(b"x" * 8).decode()],
)
def test_what_is_no_secret(secret: str) -> None:
    """It is refused, and not told."""
    with pytest.raises(ConfigError) as told:
        key_of(Secret(secret))
    assert len(secret) < 8 or secret not in str(told.value)


def test_a_new_secret_is_one() -> None:
    """Two are never the same."""
    assert len(key_of(new_secret())) == 32
    assert new_secret() != new_secret()


class Target:
    """Answers as it was told to, and notes what came."""

    def __init__(self, *answers: int | Exception) -> None:
        self.got: list[Request] = []
        self._answers = iter(answers)

    async def send(self, request: Request) -> Response:
        self.got.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return Response(status=answer)

    async def close(self) -> None: ...


class HastyClock(ManualClock):
    """Nobody waits."""

    async def sleep(self, seconds: float) -> None:
        self._elapsed += seconds


async def test_until_it_is_taken() -> None:
    """An event is sent again until it is answered 2xx: the same id and body, each try with its own time."""
    target = Target(NothingSent("refused"), 500, MaybeSent("reset"), 302, 204)
    stored = Stored(
        id=7,
        account="a",
        state=EventState.DONE,
        task_id="T",
        received_at=datetime(2026, 1, 1, tzinfo=UTC),
        body=event(),
    )
    assert await Forwarder("http://127.0.0.1:1/x", new_secret(), target, HastyClock()).send(stored) == 5
    assert {request.headers["webhook-id"] for request in target.got} == {"gotsurge_7"}
    assert {request.body for request in target.got} == {event()}
    assert len({request.headers["webhook-timestamp"] for request in target.got}) > 1


def test_what_is_no_url() -> None:
    """Only http and https."""
    with pytest.raises(ConfigError, match="http"):
        Forwarder("file:///etc/passwd", new_secret(), Target(), ManualClock())
