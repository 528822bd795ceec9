"""examples/fleet/roles.sql and grants.sql: each role can do what its commands need, and not more."""

from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import psycopg
import pytest

from gotsurge_async.auth.sealing import new_key
from gotsurge_async.simulator import Simulator
from tests.support.commands import EXAMPLES, Finished, gotsurge, write_orders
from tests.support.postgres import Server

pytestmark = pytest.mark.slow


@attrs.frozen
class Roles:
    """A database as the two files make it, and commands of each role."""

    server: Server
    simulator: Simulator
    folder: Path
    keys: str

    def url(self, role: str) -> str:
        """The ledger's URL for a role."""
        return self.server.url_of("ledger").replace("gotsurge@", f"gotsurge_{role}@")

    def statements(self, file: str, database: str, role: str | None = None) -> None:
        """Execute a file as psql does; ``\\connect`` changes the database."""
        for line in (EXAMPLES / "fleet" / file).read_text(encoding="utf-8").splitlines():
            text = line.partition("--")[0].strip()
            if text.startswith("\\connect "):
                database = text.split()[1]
            elif text:
                url = self.server.url_of(database) if role is None else self.url(role)
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(text.encode())

    async def run(self, role: str, *words: str | Path, sends: bool = False) -> Finished:
        """Run a command as a role."""
        target = ["--env", "local", "--api-base", self.simulator.api_base, "--account", "platform"]
        variables = {
            "XDG_DATA_HOME": str(self.folder / "data"),
            "PYTHONPATH": str(EXAMPLES.parent),
            "GOTSURGE_LEDGER": self.url(role),
            "GOTSURGE_TOKEN_STORE": self.url(role),
            "GOTSURGE_TOKEN_KEYS": self.keys,
        }
        return await gotsurge(*words, *(target if sends else ()), cwd=self.folder, env=variables)


@pytest.fixture
async def roles(postgres: Server, tmp_path: Path) -> AsyncIterator[Roles]:
    """The roles, before the migrator's `db upgrade`."""
    async with Simulator() as simulator:
        made = Roles(postgres, simulator, tmp_path, new_key())
        made.statements("roles.sql", "postgres")
        yield made


async def test_each_role_can_do_its_work_and_no_more(roles: Roles) -> None:
    """Workers push and undo, but make no tables; readers send nothing, and see no token."""
    file = write_orders(roles.folder / "orders.csv", range(40))
    upgraded = await roles.run("migrator", "db", "upgrade")
    assert upgraded.code == 0, upgraded
    roles.statements("grants.sql", "ledger", "migrator")
    roles.server.ask("REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM gotsurge_worker", "ledger")
    pushed = await roles.run("worker", "push", file, sends=True)
    assert (pushed.code, "E503" in pushed.err, "damaged" in pushed.err) == (2, True, False), pushed
    roles.statements("grants.sql", "ledger", "migrator")
    pushed = await roles.run("worker", "push", file, "--json", sends=True)
    assert (pushed.code, pushed.document["created"]) == (0, 40), pushed
    run = pushed.document["run"]
    for words in (("status", run), ("results", run, "--out", "out"), ("workers",), ("ledger", "export", "all.jsonl")):
        looked = await roles.run("reader", *words)
        assert looked.code == 0, (words, looked)
    again = await roles.run("reader", "push", file, sends=True)
    assert (again.code, "permission denied" in again.err) == (2, True), again
    for words in (("undo", run, "--yes", "--reason", "a test"), ("orders", "--env", "local")):
        done = await roles.run("worker", *words, sends=words[0] == "undo")
        assert done.code == 0, (words, done)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        roles.server.ask("SET ROLE gotsurge_worker; CREATE TABLE more (number int)", "ledger")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        roles.server.ask("SET ROLE gotsurge_reader; SELECT * FROM gotsurge_tokens", "ledger")
