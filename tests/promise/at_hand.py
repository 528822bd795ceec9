"""A service and a runner of commands inside the test's own process: for the many pushes that nobody kills."""

import io
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

from gotsurge_async.cli.app import gotsurge
from gotsurge_async.config import RetryPolicy, Timeouts
from gotsurge_async.simulator import Fault, Simulator, SimulatorOptions
from gotsurge_async.simulator.state.clock import TellsTime
from tests.promise.station import BROKEN, Experiment, Station
from tests.support.running import running_simulator

READ = 0.12
"""Seconds in which an answer must come where time-outs are wanted."""


@attrs.define
class Worded(Experiment):
    """An experiment whose pushes have more words, or whose end is judged with less rigour.

    Attributes:
        words: what is typed besides.
        may_doubt: whether orders may be in doubt in the end, also in two-phase mode.
    """

    words: tuple[str, ...] = ()
    may_doubt: bool = False

    @property
    def exactly_once(self) -> bool:
        """Whether everything must be created in the end, and nothing in doubt."""
        return super().exactly_once and not self.may_doubt

    @property
    def _small(self) -> tuple[str, ...]:
        return (*super()._small, *self.words)


class AtHand(Station):
    """A simulator in a thread, and commands one after another in this one: half the time of a process for each."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.api_base = simulator.api_base
        self._tokens: dict[str, str] = {}
        self._renewing: dict[str, dict[str, str]] = {}

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Run a command to its end: here, or as a process of its own below what ``order["below"]`` starts."""
        theirs = order["environment"] | self._renewing[order["environment"]["GOTSURGE_BEARER_TOKEN"]]
        if "below" in order:
            return _ask_below(order, theirs)
        mine: dict[str, str | None] = {name: None for name in os.environ if name.startswith(("GOTSURGE_", "XDG_"))}
        done = CliRunner(env=mine | theirs).invoke(gotsurge, list(order["words"]))
        code, err = done.exit_code, done.stderr
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            text = io.StringIO()
            traceback.print_exception(done.exception, file=text)
            code, err = BROKEN, err + text.getvalue()
        Path(order["out"]).write_text(done.stdout)
        Path(order["err"]).write_text(err)
        return {"code": code}

    def token(self, account: str) -> str:
        """A bearer token of an account, which commands can renew."""
        if account not in self._tokens:
            key = self._post("/_simulator/code", {"account": account})
            tokens = self._post(f"{self._path}/oauth2/token", key)
            self._tokens[account] = tokens["bearer_token"]
            self._renewing[tokens["bearer_token"]] = {
                "GOTSURGE_REFRESH_TOKEN": tokens["refresh_token"],
                "GOTSURGE_CLIENT_KEY": key["client_key"],
                "GOTSURGE_SECRET_KEY": key["secret_key"],
            }
        return self._tokens[account]

    def order(self, **fields: Any) -> None:
        """Have a fault strike from now on."""
        self.simulator.order_fault(Fault(**fields))

    def begin_anew(self) -> None:
        """Nothing: each has a simulator of its own, in which there may be tasks already."""

    def be_well(self) -> None:
        """Have no faults any more."""
        self.simulator.clear_faults()

    @property
    def calls(self) -> int:
        """How many calls there were."""
        return sum(self.simulator.audit()["calls"].values())


def _ask_below(order: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    command = [*order["below"], sys.executable, "-m", "gotsurge_async", *order["words"]]
    path = os.pathsep.join(filter(None, sys.path))
    with Path(order["out"]).open("wb") as out, Path(order["err"]).open("wb") as err:
        done = subprocess.run(
            command,
            cwd=order["folder"],
            env={**environment, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            check=False,
        )
    return {"code": done.returncode}


@contextmanager
def at_hand(options: SimulatorOptions | None = None, clock: TellsTime | None = None) -> Iterator[AtHand]:
    """Start the simulator, and let nobody wait for seconds who would wait for a service."""
    with running_simulator(options, clock) as simulator, hurried():
        station = AtHand(simulator)
        for account in simulator.accounts:
            station.token(account)  # before anything goes wrong
        yield station


@contextmanager
def hurried(*, read: float = 30.0, attempts: int = 3) -> Iterator[None]:
    """Change what every client has by default: waits of milliseconds.

    Args:
        read: seconds to wait for an answer.
        attempts: tries in all.
    """
    policy = {"attempts": attempts, "base": 0.001, "cap": 0.002}
    with pytest.MonkeyPatch.context() as patch:
        # The defaults of the public classes, whoever uses them.
        for cls, changes in ((RetryPolicy, policy), (Timeouts, {"read": read})):
            for name, value in changes.items():
                patch.setitem(cls.__init__.__kwdefaults__, name, value)
        yield
