"""The commands about many machines: what they refuse, and what they say; on files, and on a real PostgreSQL."""

import json
from pathlib import Path

import psycopg
import pytest

from gotsurge_async.simulator import Simulator
from tests.support.commands import Runner, local, write_orders

PG = "postgresql://gotsurge@127.0.0.1:1/none"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("worker", "--env", "local", "--ledger", "ledger.db"), "can serve many machines"),
        (("worker", "--env", "local"), "can serve many machines"),
        (("worker", "--ledger", PG), "no environment is named: --env"),
        (("worker", "--env", "local", "--ledger", PG, "--lease", "1"), "1.0 is not in the range x>=2"),
        (("worker", "--env", "local", "--ledger", PG), "needs the API base"),
        (("db", "upgrade", "--ledger", "ledger.db"), "can serve many machines"),
        (("db", "upgrade", "--ledger", PG), "cannot be used"),
        (("push", "orders.csv", "--env", "local", "--ledger", "ledger.db", "--distributed"), "can serve many machines"),
        (("push", "orders.csv", "--simulate", "--ledger", PG, "--distributed"), "run gotsurge simulator"),
        (("push", "orders.csv", "--env", "local", "--no-wait"), "--no-wait works only with --distributed"),
        (("resume", "--last", "--env", "local", "--ledger", "ledger.db", "--distributed"), "can serve many machines"),
        (("resume", "--last", "--env", "local", "--no-wait"), "--no-wait works only with --distributed"),
        (("stop", "RUN", "--ledger", "ledger.db"), "there is no ledger"),
    ],
)
def test_what_cannot_be_is_refused(run: Runner, words: tuple[str, ...], message: str) -> None:
    """With a sentence and exit code 2, before anything is read or sent."""
    done = run(*words)
    assert (done.exit_code, message in done.stderr) == (2, True), done.output
    assert "Traceback" not in done.output


# --- on a server ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[pytest.param("postgresql", marks=pytest.mark.slow)])
def url(database: str) -> str:
    """A new database; what needs it is slow."""
    return database


@pytest.fixture
def put_up(run: Runner, url: str, simulator: Simulator, tmp_path: Path) -> str:
    """A run of three orders that waits for workers."""
    assert run("db", "upgrade", "--ledger", url).exit_code == 0
    file = write_orders(tmp_path / "orders.csv", ["A", "B", "C"])
    words = ("--distributed", "--no-wait", "--json", "--out", tmp_path / "out")
    done = run("push", file, *local(simulator), "--ledger", url, *words)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert (document["put_up"], document["exit"]) == (3, 0)
    return str(document["run"])


def test_tables_are_made_and_made_again(run: Runner, url: str) -> None:
    """`db upgrade` may be run at any time, and says what it did, without the password."""
    with_password = url.replace("gotsurge@", "gotsurge:secret@")
    for _ in range(2):
        done = run("db", "upgrade", "--ledger", with_password)
        assert (done.exit_code, "are up to date" in done.stderr) == (0, True), done.output
        assert "secret" not in done.output


def test_a_push_without_a_queue_is_refused(run: Runner, url: str, simulator: Simulator, tmp_path: Path) -> None:
    """It says which command makes one; nothing is sent."""
    file = write_orders(tmp_path / "orders.csv", ["A"])
    done = run("push", file, *local(simulator), "--ledger", url, "--distributed", "--out", tmp_path / "out")
    assert (done.exit_code, f"gotsurge db upgrade --ledger {url}" in done.stderr) == (2, True), done.output
    done = run("worker", *local(simulator), "--ledger", url)
    assert (done.exit_code, f"gotsurge db upgrade --ledger {url}" in done.stderr) == (2, True), done.output
    assert simulator.audit()["tasks"] == 0


def test_a_run_that_waits_says_so(run: Runner, url: str, put_up: str) -> None:
    """`status` tells that no worker has it, and nothing to type; a stop leaves it to a resume by workers."""
    status = run("status", put_up, "--ledger", url)
    assert "waits for workers" in status.stdout
    assert "1 left, 0 in workers' hands" in status.stdout
    assert "gotsurge resume" not in status.output
    stopped = run("stop", put_up, "--ledger", url, "--json")
    assert json.loads(stopped.stdout) == {"run": put_up, "stopped": True, "exit": 0}
    assert "was stopped already" in run("stop", put_up, "--ledger", url).stdout
    status = run("status", put_up, "--ledger", url)
    assert "stopped" in status.stdout
    assert f"gotsurge resume {put_up}" in status.output
    assert "--distributed" in status.output
    with psycopg.connect(url) as database:
        database.execute("UPDATE runs SET state = 'done'")
    assert f"run {put_up}: has ended" in run("stop", put_up, "--ledger", url).stdout


def test_rows_that_are_left_out_are_reported_where_a_run_is_put_up(
    run: Runner, url: str, simulator: Simulator, tmp_path: Path
) -> None:
    """Workers know nothing of them; the push that puts the run up reports them, and so does its status."""
    assert run("db", "upgrade", "--ledger", url).exit_code == 0
    file = write_orders(tmp_path / "orders.csv", ["A", "B", "C"])
    file.write_text(file.read_text().replace("48.50", "0.50", 1))
    words = ["--distributed", "--no-wait", "--ledger", url, "--out", tmp_path / "out", "--leave-faulty"]
    done = run("push", file, *local(simulator), *words, "--faults", tmp_path / "faulty.csv", "--json")
    document = json.loads(done.stdout)
    assert (done.exit_code, document["put_up"], document["left_out"], document["exit"]) == (5, 2, 1, 5)
    assert document["next"][0].startswith(f"gotsurge push {tmp_path / 'faulty.csv'} --env local")
    assert f"1, in {tmp_path / 'faulty.csv'}" in run("status", document["run"], "--ledger", url).stdout


def test_a_run_that_was_never_put_up_cannot_be_stopped(
    run: Runner, url: str, simulator: Simulator, tmp_path: Path
) -> None:
    """It says so; nor one that is not there."""
    file = write_orders(tmp_path / "orders.csv", ["A"])
    done = run("push", file, *local(simulator), "--ledger", url, "--json", "--out", tmp_path / "out")
    pushed = json.loads(done.stdout)["run"]
    done = run("stop", pushed, "--ledger", url)
    assert (done.exit_code, "is not distributed to workers" in done.stderr) == (2, True)
    assert run("stop", "20200101T000000-none", "--ledger", url).exit_code == 2


def test_one_machine_may_take_what_waits_for_workers(
    run: Runner, url: str, put_up: str, simulator: Simulator, tmp_path: Path
) -> None:
    """Resumed without workers it is sent here, and nothing waits for them any more."""
    done = run("resume", put_up, *local(simulator), "--ledger", url, "--json", "--out", tmp_path / "out")
    assert (done.exit_code, json.loads(done.stdout)["created"]) == (0, 3), done.output
    with psycopg.connect(url) as database:
        assert database.execute("SELECT count(*) FROM segments").fetchall() == [(0,)]


def test_an_undo_takes_it_from_the_workers(run: Runner, url: str, put_up: str, simulator: Simulator) -> None:
    """What was not sent stays unsent: nobody goes on with a run that was undone."""
    done = run("undo", put_up, *local(simulator), "--ledger", url, "--json")
    assert done.exit_code in (0, 5), done.output
    with psycopg.connect(url) as database:
        assert database.execute("SELECT count(*) FROM distributions").fetchall() == [(0,)]
        assert database.execute("SELECT state FROM runs").fetchall() == [("stopped",)]


def test_prices_are_reserved_where_the_spend_is_limited(
    run: Runner, url: str, simulator: Simulator, tmp_path: Path
) -> None:
    """A push with --max-spend puts the prices up with the orders; of two currencies it says what is wrong."""
    assert run("db", "upgrade", "--ledger", url).exit_code == 0
    file = write_orders(tmp_path / "orders.csv", ["A", "B"])
    words = ("--distributed", "--no-wait", "--ledger", url, "--out", tmp_path / "out", *local(simulator))
    done = run("push", file, *words, "--max-spend", "USD 10")
    assert (done.exit_code, "is priced in SGD, but the limit is in USD" in done.stderr) == (5, True), done.output
    done = run("push", file, *words, "--max-spend", "SGD 60", "--json")
    assert done.exit_code == 0, done.output
    with psycopg.connect(url) as database:
        assert database.execute("SELECT price, spend FROM segments").fetchall() == [(2 * 4_850_000, 0)]
        ((brakes,),) = database.execute("SELECT brakes FROM distributions").fetchall()
    assert json.loads(brakes)["max_spend"] == [6_000_000, "SGD"]
