"""`gotsurge push` over real HTTP; as a process of its own where that is what is tested."""

import asyncio
import csv
import json
import re
import signal
import stat
from pathlib import Path

import pytest

from gotsurge_async.simulator import Fault, Simulator
from tests.cli.service.test_tasks import order
from tests.support.commands import (
    EXAMPLES,
    HEADER,
    ROW,
    Finished,
    Runner,
    Shell,
    finish,
    gotsurge,
    inside,
    local,
    start,
    write_orders,
)

DAY = 86_400


async def push(simulator: Simulator, cwd: Path, *words: str | Path) -> Finished:
    """Push to a simulator, and read the summary."""
    return await gotsurge("push", *words, *local(simulator), "--json", "--quiet", cwd=cwd)


def push_inside(simulator: Simulator, cwd: Path, *words: str | Path, stdin: bytes = b"") -> Finished:
    """The same in this process."""
    return inside("push", *words, *local(simulator), "--json", "--quiet", cwd=cwd, stdin=stdin)


def rows_of(path: str | Path) -> list[dict[str, str]]:
    """The rows of a CSV."""
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_examples_are_created_on_a_throw_away_simulator(tmp_path: Path) -> None:
    """The first command of the README creates 500 orders and says where the result files are; run again, none."""
    words = ["push", EXAMPLES / "orders.csv", "--items", EXAMPLES / "items.csv", "--simulate"]
    first = asyncio.run(gotsurge(*words, cwd=tmp_path))
    assert first.code == 0
    assert first.out.splitlines()[-1] == "500 created"
    assert len(list(tmp_path.glob("gotsurge-results/*-created.csv"))) == 1
    assert str(next(tmp_path.glob("gotsurge-results/*-created.csv")).relative_to(tmp_path)) in first.out
    again = inside(*words, cwd=tmp_path)
    assert (again.code, again.out.splitlines()[-1]) == (0, "0 created, 500 already pushed")


def test_every_order_is_at_the_service_once_with_its_items(simulator: Simulator, tmp_path: Path) -> None:
    """What the simulator has is what the file says."""
    items = ("--items", EXAMPLES / "items.csv", "--out", "out")
    done = push_inside(simulator, tmp_path, EXAMPLES / "orders.csv", *items)
    audit = simulator.audit()
    assert (done.code, done.document["created"], done.document["orders"]) == (0, 500, 500)
    assert (audit["tasks"], audit["doubled"]) == (500, {})
    keys = {row["tracking_id"] for row in rows_of(EXAMPLES / "orders.csv")}
    assert set(audit["by_tracking_id"]) == keys
    success = rows_of(tmp_path / done.document["files"]["created"])
    assert {row["tracking_id"] for row in success} == keys
    assert all(row["gs_task_id"] and row["gs_status"] == "created" for row in success)


def test_five_faults_are_five_lines_and_nothing_is_sent(simulator: Simulator, tmp_path: Path) -> None:
    """Each fault is one line, also where a row has several, exit 2, and the service has no task."""
    several = ROW.format(key="B").replace("2030-03-04T01:00:00Z", "yesterday").replace(",car,", ",cra,")
    rows = [ROW.format(key="A").replace("48.50", '"48,50"'), several.replace("48.50", "1.50"), ROW.format(key="")]
    (tmp_path / "orders.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    done = inside("push", "orders.csv", *local(simulator), cwd=tmp_path)
    assert simulator.audit()["tasks"] == 0
    assert done.code == 2
    assert done.out == ""
    *lines, explained = done.err.splitlines()
    assert len(lines) == 6
    assert explained.startswith("see: gotsurge explain E")
    for line, (number, column) in zip(
        lines,
        [
            (2, "price"),
            (3, "from_time_window.start_time_utc"),
            (3, "vehicle_preference"),
            (3, "price"),
            (4, "tracking_id"),
        ],
        strict=False,
    ):
        assert line.startswith(f"orders.csv:{number}: {column}: "), line
    assert lines[-1] == "5 faults: nothing was sent"


def test_a_key_twice_is_a_fault_with_both_lines(tmp_path: Path) -> None:
    """One order, one key: the line that repeats a key is named with the first one."""
    write_orders(tmp_path / "orders.csv", ["A", "B", "A"])
    done = inside("push", "orders.csv", "--simulate", cwd=tmp_path)
    assert done.code == 2
    assert "orders.csv:4:" in done.err
    assert "line 2" in done.err


def test_faults_as_json_go_to_standard_output(tmp_path: Path) -> None:
    """With --json a program reads the faults."""
    (tmp_path / "orders.csv").write_text(HEADER + "\n" + ROW.format(key="A").replace("48.50", "zero") + "\n")
    done = inside("push", "orders.csv", "--simulate", "--json", cwd=tmp_path)
    assert done.code == 2
    assert done.document["count"] == 1
    assert done.document["faults"][0] | {"rule": "", "severity": ""} == {
        "file": "orders.csv",
        "line": 2,
        "column": "price",
        "field": "price",
        "value": "zero",
        "rule": "",
        "severity": "",
        "proposal": None,
        "place": 11,
    }


def test_rate_limits_and_one_401_leave_no_trace(simulator: Simulator, tmp_path: Path) -> None:
    """10 % of creates answered 429 with Retry-After, and one 401: all created, each exactly once."""
    write_orders(tmp_path / "orders.csv", range(600))
    simulator.order_fault(
        Fault(
            operation="tasks.create",
            when="before",
            kind="status",
            status=429,
            headers={"Retry-After": "0"},
            rate=0.1,
            seed=3,
        )
    )
    simulator.order_fault(Fault(operation="tasks.create", when="before", kind="status", status=401, times=1))
    done = push_inside(simulator, tmp_path, "orders.csv")
    audit = simulator.audit()
    assert (done.code, done.document["created"], done.document["in_doubt"]) == (0, 600, 0)
    assert (audit["tasks"], audit["doubled"], audit["calls"]["auth.refresh"]) == (600, {}, 1)


def test_lost_answers_are_in_doubt_and_nothing_is_doubled(simulator: Simulator, tmp_path: Path) -> None:
    """Answers lost after the effect and connections reset before it look the same: in doubt, exit 3, none doubled."""
    write_orders(tmp_path / "orders.csv", range(1000))
    for when, seed in (("after", 1), ("before", 2)):
        simulator.order_fault(Fault(operation="tasks.create", when=when, kind="reset", rate=0.05, seed=seed))
    # Lost answers come sooner than others, so a few of them may well come in a row.
    done = push_inside(simulator, tmp_path, "orders.csv", "--stop-after-doubts", "0")
    audit = simulator.audit()
    summary = done.document
    assert done.code == 3
    assert summary["in_doubt"] > 0
    assert summary["created"] + summary["in_doubt"] == summary["orders"] == 1000
    assert audit["doubled"] == {}
    created = {row["tracking_id"] for row in rows_of(tmp_path / summary["files"]["created"])}
    in_doubt = {row["tracking_id"] for row in rows_of(tmp_path / summary["files"]["in_doubt"])}
    assert created <= set(audit["by_tracking_id"]) <= created | in_doubt
    refused = inside("push", summary["files"]["in_doubt"], "--simulate", cwd=tmp_path)
    assert refused.code == 2
    assert "resolve" in refused.err


async def test_a_token_that_ends_in_the_middle_is_renewed_once(tmp_path: Path) -> None:
    """The clock is turned past the token's end during a push: one refresh, no order lost."""
    write_orders(tmp_path / "orders.csv", range(600))
    async with Simulator() as simulator:
        pushing = asyncio.create_task(push(simulator, tmp_path, "orders.csv"))
        await simulator.called("tasks.create", times=8)
        simulator.advance(31 * DAY)
        done = await pushing
        audit = simulator.audit()
    assert (done.code, done.document["created"]) == (0, 600)
    assert (audit["doubled"], audit["calls"]["auth.refresh"]) == ({}, 1)


def test_a_refused_chunk_is_reported_and_can_be_mended_and_pushed_again(simulator: Simulator, tmp_path: Path) -> None:
    """What the service refuses is exit 1 with its words in the failed file; that file is input again."""
    write_orders(tmp_path / "orders.csv", range(5))
    simulator.order_fault(Fault(operation="tasks.create", when="before", kind="status", status=422, times=1))
    done = push_inside(simulator, tmp_path, "orders.csv")
    assert (done.code, done.document["refused"]) == (1, 5)
    failed = rows_of(tmp_path / done.document["files"]["refused"])
    assert all("422" in row["gs_error"] and row["gs_status"] == "refused" for row in failed)
    again = push_inside(simulator, tmp_path, done.document["files"]["refused"])
    assert (again.code, again.document["created"]) == (0, 5)
    assert simulator.audit()["doubled"] == {}


def test_json_lines_from_standard_input(simulator: Simulator, tmp_path: Path) -> None:
    """JSON Lines in the API's own shape can be piped in, and come back as JSON Lines."""
    sent = order("J-1", items=[{"name": "Rope", "quantity": 2}])
    words = ("-", "--format", "jsonl", "--any-date")
    done = push_inside(simulator, tmp_path, *words, stdin=json.dumps(sent).encode() + b"\n")
    assert (done.code, done.document["created"]) == (0, 1), done.err
    line = json.loads((tmp_path / done.document["files"]["created"]).read_text())
    assert line | {"gs_task_id": ""} == sent | {"gs_task_id": "", "gs_status": "created", "gs_error": ""}


def test_result_files_and_ledger_are_for_the_user_alone(tmp_path: Path) -> None:
    """All that holds orders has mode 0600."""
    write_orders(tmp_path / "orders.csv", range(3))
    inside("push", "orders.csv", "--simulate", "--out", "out", cwd=tmp_path)
    files = list((tmp_path / "out").iterdir())
    assert len(files) >= 6
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_dry_run_sends_and_writes_nothing(tmp_path: Path) -> None:
    """--dry-run needs no GotSurge, checks the file, and leaves no file behind."""
    write_orders(tmp_path / "orders.csv", range(3))
    done = inside("push", "orders.csv", "--dry-run", cwd=tmp_path)
    assert (done.code, done.out.splitlines()[-1]) == (0, "3 orders, no faults; nothing was sent")
    assert [path.name for path in tmp_path.iterdir()] == ["orders.csv"]


def test_production_does_not_create_on_a_guess(tmp_path: Path) -> None:
    """Nothing is sent to production on assumed paths unless the user accepts them."""
    write_orders(tmp_path / "orders.csv", range(3))
    env = {"GOTSURGE_BEARER_TOKEN": "secret-token", "HOME": str(tmp_path)}
    done = inside("push", "orders.csv", "--env", "production", cwd=tmp_path, env=env)
    assert done.code == 2, done.err
    assert "--accept-assumed-endpoints" in done.err
    assert "secret-token" not in done.err


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_one_signal_drains(tmp_path: Path, number: int, code: int) -> None:
    """After Ctrl-C, or the SIGTERM of a container, what is in flight is recorded, and the rest can be pushed again."""
    write_orders(tmp_path / "orders.csv", range(400))
    async with Simulator() as simulator:
        simulator.order_fault(Fault(operation="tasks.create", when="before", kind="delay", seconds=0.2))
        process = await start(
            "push", "orders.csv", *local(simulator), "--json", "--quiet", "--concurrency", "2", cwd=tmp_path
        )
        await simulator.called("tasks.create", times=3)
        process.send_signal(number)
        done = await finish(process)
        summary = done.document
        assert done.code == code
        assert summary["in_doubt"] == 0
        assert 0 < summary["created"] == simulator.audit()["tasks"] < 400
        assert summary["created"] + summary["unprocessed"] == 400
        simulator.clear_faults()
        again = await push(simulator, tmp_path, "orders.csv")
        assert (again.code, again.document["created"]) == (0, summary["unprocessed"])
        assert simulator.audit()["doubled"] == {}
        assert simulator.audit()["tasks"] == 400


@pytest.mark.slow
async def test_two_signals_abort_and_name_what_is_in_doubt(tmp_path: Path) -> None:
    """The second Ctrl-C does not wait: what was in flight is in doubt, and nothing is doubled afterwards."""
    write_orders(tmp_path / "orders.csv", range(200))
    async with Simulator() as simulator:
        simulator.order_fault(Fault(operation="tasks.create", when="after", kind="delay", seconds=30))
        process = await start(
            "push", "orders.csv", *local(simulator), "--json", "--quiet", "--concurrency", "2", cwd=tmp_path
        )
        await simulator.called("tasks.create", times=2)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert b"stopping" in await process.stderr.readline()
        process.send_signal(signal.SIGINT)
        done = await finish(process)
        assert done.code == 130
        assert (done.document["in_doubt"], done.document["created"]) == (40, 0)
        simulator.clear_faults()
        again = await push(simulator, tmp_path, "orders.csv")
        assert again.code == 3
        assert (again.document["created"], again.document["in_doubt"]) == (160, 40)
        assert simulator.audit()["doubled"] == {}


@pytest.mark.slow
async def test_orders_that_wait_in_a_run_that_is_going_on_are_refused(tmp_path: Path) -> None:
    """Pushing a file that another process is pushing is exit 6, with who holds the run."""
    write_orders(tmp_path / "orders.csv", range(100))
    async with Simulator() as simulator:
        simulator.order_fault(Fault(operation="tasks.create", when="before", kind="delay", seconds=30))
        first = await start("push", "orders.csv", *local(simulator), "--quiet", "--concurrency", "1", cwd=tmp_path)
        await simulator.called("tasks.create", times=1)
        second = await push(simulator, tmp_path, "orders.csv")
        assert second.code == 6
        assert f"process {first.pid}" in second.err
        first.kill()
        await first.wait()
        assert simulator.audit()["doubled"] == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "content", [b"not a database, but a text that somebody saved here by mistake", b"SQLite format 3\0"]
)
def test_a_ledger_that_cannot_be_used_is_reported(simulator: Simulator, tmp_path: Path, content: bytes) -> None:
    """A ledger that is no database, or a cut one, is named; nothing is sent, and the file is left as it was."""
    write_orders(tmp_path / "orders.csv", range(3))
    (tmp_path / "ledger.db").write_bytes(content)
    done = push_inside(simulator, tmp_path, "orders.csv", "--ledger", "ledger.db")
    assert simulator.audit()["tasks"] == 0
    assert done.code == 2
    assert "ledger.db" in done.err
    assert "Traceback" not in done.err
    assert (tmp_path / "ledger.db").read_bytes() == content


@pytest.mark.parametrize("kind", ["in doubt", "refused"])
def test_a_push_that_goes_wrong_throughout_stops_by_itself(shell: Shell, kind: str) -> None:
    """Chunks in doubt, or refused, in a row end it with the rest unprocessed; an option lifts that."""
    lost = Fault(operation="tasks.create", when="after", kind="reset")
    refused = Fault(operation="tasks.create", when="before", kind="status", status=422)
    shell.simulator.order_fault(lost if kind == "in doubt" else refused)
    keys, one = [f"T-{number}" for number in range(12)], ("--batch-size", "1", "--concurrency", "1")
    done, summary = shell.push(*keys, words=one)
    counts = (done.exit_code, summary["in_doubt"], summary["refused"], summary["unprocessed"])
    assert counts == ((3, 5, 0, 7) if kind == "in doubt" else (5, 0, 10, 2))
    assert "in a row" in summary["error"]
    lifted = ("--stop-after-doubts", "0", "--stop-after-refusals", "0")
    done = shell.call("resume", summary["run"], *one[2:], *lifted, "--out", shell.folder / "out", "--json", "--quiet")
    assert shell.document(done)["unprocessed"] == 0


def test_the_help_shows_options_in_groups(run: Runner) -> None:
    """The file, the place, the sending, what stops it, and what is left behind; nothing stands in no group."""
    text = run("push", "--help").stdout
    titles = [line for line in text.splitlines() if re.fullmatch(r"[A-Z][a-z, ]+:", line)]
    groups = ["The file:", "Where to:", "Sending:", "Stopping:", "Ledger, results and output:", "Seen from outside:"]
    groups.append("Other options:")
    assert titles[titles.index("The file:") :] == groups
    assert text.partition("Other options:")[2].split() == ["-h,", "--help", "Show", "this", "message", "and", "exit."]


def test_an_order_like_others_is_reported_once(shell: Shell) -> None:
    """Three orders of one delivery are two warnings; what another run has is reported with its state."""
    alike = [ROW.format(key=key).replace(f"{key} Loyang", "7 Loyang") for key in "ABCD"]
    file = shell.folder / "orders.csv"
    file.write_text("\n".join([HEADER, *alike[:3]]) + "\n")
    words = (
        "push",
        file,
        *local(shell.simulator),
        "--ledger",
        shell.folder / "ledger.db",
        "--out",
        shell.folder / "out",
    )
    warnings = [line for line in shell.run(*words).stderr.splitlines() if line.startswith("warning: ")]
    same = "has the same pickup, delivery and time windows as order A"
    assert warnings == [
        f"warning: {file}:3: order B {same} (line 2)",
        f"warning: {file}:4: order C {same} (line 2), and as 1 more",
    ]
    assert "warning: " not in shell.run(*words).stderr
    file.write_text("\n".join([HEADER, alike[3]]) + "\n")
    (told_of_d,) = [line for line in shell.run(*words).stderr.splitlines() if line.startswith("warning: ")]
    assert re.search(rf":2: order D {same} \(created, line 2 of run \S+\), and as 2 more$", told_of_d)
