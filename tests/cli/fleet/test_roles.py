"""examples/fleet/roles.sql and readers.sql: each role can do what its commands need, and not more."""

import json
from pathlib import Path

import attrs
import psycopg
import pytest
from click.testing import Result

from gotsurge_async.auth.sealing import new_key
from gotsurge_async.simulator import Simulator
from tests.support.commands import EXAMPLES, Runner, local, write_orders
from tests.support.postgres import Server

FLEET = EXAMPLES / "fleet"


@attrs.frozen
class Roles:
    """Commands, each as a role of a server."""

    server: Server
    run: Runner
    keys: str = attrs.field(factory=new_key)

    def url(self, role: str | None, database: str = "ledger") -> str:
        """The URL of a database for a role; None for the superuser."""
        whole = self.server.url_of(database)
        return whole if role is None else whole.replace("gotsurge@", f"gotsurge_{role}@")

    def execute(self, text: str, role: str | None = None, database: str = "ledger") -> None:
        """Execute statements, a line each, as psql does; ``\\connect`` changes the database."""
        for line in text.splitlines():
            statement = line.partition("--")[0].strip()
            if statement.startswith("\\connect "):
                database = statement.split()[1]
            elif statement:
                with psycopg.connect(self.url(role, database), autocommit=True) as connection:
                    connection.execute(statement.encode())

    def __call__(self, role: str, *words: str | Path) -> Result:
        """Run a command as a role."""
        url = self.url(role)
        return self.run(*words, GOTSURGE_LEDGER=url, GOTSURGE_TOKEN_STORE=url, GOTSURGE_TOKEN_KEYS=self.keys)


@pytest.mark.slow
def test_each_role_can_do_its_work_and_no_more(
    run: Runner, postgres: Server, simulator: Simulator, tmp_path: Path
) -> None:
    """Workers push and undo, but make no tables; readers send nothing, and see no token; a missing right is named."""
    roles = Roles(postgres, run)
    roles.execute((FLEET / "roles.sql").read_text(encoding="utf-8"), database="postgres")
    upgraded = roles("migrator", "db", "upgrade")
    assert upgraded.exit_code == 0, upgraded.output
    roles.execute((FLEET / "readers.sql").read_text(encoding="utf-8"), "migrator")

    file, target = write_orders(tmp_path / "orders.csv", range(40)), (*local(simulator), "--account", "platform")
    sequences = "ON ALL SEQUENCES IN SCHEMA public"
    roles.execute(f"REVOKE ALL {sequences} FROM gotsurge_worker")
    pushed = roles("worker", "push", file, *target)
    assert (pushed.exit_code, "E503" in pushed.stderr, "damaged" in pushed.stderr) == (2, True, False), pushed.output
    roles.execute(f"GRANT SELECT, USAGE {sequences} TO gotsurge_worker")
    pushed = roles("worker", "push", file, *target, "--quiet")
    assert pushed.exit_code == 0, pushed.output
    assert len(simulator.tasks()) == 40
    name = json.loads(roles("reader", "runs", "--json").stdout)[0]["run"]
    for words in (("status", name), ("results", name, "--out", "out"), ("workers",), ("ledger", "export", "all.jsonl")):
        looked = roles("reader", *words)
        assert looked.exit_code == 0, (words, looked.output)
    again = roles("reader", "push", file, *target)
    assert (again.exit_code, "permission denied" in again.stderr) == (2, True), again.output
    for words in (("undo", name, "--yes", "--reason", "a test", *target), ("orders", "--env", "local")):
        done = roles("worker", *words)
        assert done.exit_code == 0, (words, done.output)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        roles.execute("CREATE TABLE more (number int)", "worker")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        roles.execute("SELECT * FROM gotsurge_tokens", "reader")
