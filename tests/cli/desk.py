"""A person at a terminal with a file of orders, a ledger, and a simulator that runs."""

import json
from pathlib import Path
from typing import Any

import attrs
from click.testing import Result

from gotsurge_async.simulator import Fault, Simulator
from tests.cli.kit import write_orders
from tests.cli.runner import Runner, local


@attrs.frozen
class Desk:
    """Runs commands against one simulator, with one ledger, as one account."""

    run: Runner
    simulator: Simulator
    folder: Path
    account: str | None = None

    @property
    def ledger(self) -> list[str | Path]:
        """The option that names the ledger."""
        return ["--ledger", self.folder / "ledger.db"]

    @property
    def place(self) -> list[str]:
        """The options that name simulator and account."""
        return [*local(self.simulator), *(["--account", self.account] if self.account else [])]

    def push(self, *keys: str, words: tuple[str, ...] = ()) -> tuple[Result, dict[str, Any]]:
        """Push orders; the result, and the summary."""
        file = write_orders(self.folder / "orders.csv", list(keys))
        options = [*self.ledger, "--out", self.folder / "out", *words]
        done = self.run("push", file, *self.place, *options, "--json", "--quiet")
        return done, json.loads(done.stdout)

    def push_lost(self, *keys: str, when: Any = "after", words: tuple[str, ...] = ()) -> str:
        """Push orders, and lose every answer; the run."""
        self.simulator.order_fault(Fault(operation="tasks.create", when=when, kind="reset"))
        done, summary = self.push(*keys, words=("--mode", "direct", *words))
        self.simulator.clear_faults()
        assert (done.exit_code, summary["in_doubt"]) == (3, len(keys))
        return str(summary["run"])

    def books(self, command: str, *words: str | Path) -> Result:
        """Run a command that only needs the ledger."""
        return self.run(command, *words, *self.ledger)

    def call(self, command: str, *words: str | Path) -> Result:
        """Run a command that talks to the simulator."""
        return self.run(command, *words, *self.ledger, *self.place)

    def document(self, done: Result) -> Any:
        """Standard output as JSON."""
        return json.loads(done.stdout)
