"""The commands that are reported at the end of a push: they can be typed as they stand."""

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.bulk import Mode
from gotsurge_async.cli.shared.next_steps import Standing, next_steps
from gotsurge_async.database import place_of
from gotsurge_async.ledger import RunInfo, RunState
from gotsurge_async.simulator import Fault
from tests.support.commands import Shell


def standing_of(
    counts: dict[str, int], *, environment: str = "sandbox", mode: Mode = Mode.DIRECT, **rest: Any
) -> Standing:
    """The state of a run."""
    known = {"options": rest.pop("options", {}), "columns": rest.pop("columns", ("tracking_id",))}
    info = RunInfo(
        id="RUN",
        created_at=datetime(2030, 3, 4, tzinfo=UTC),
        state=RunState.STOPPED,
        environment=environment,
        mode=mode,
        source="orders.csv",
        source_sha256=None,
        holder=None,
        finished_at=None,
        **known,
    )
    ledger = place_of(rest.pop("ledger", "/books/l.db"))
    return Standing(info=info, counts=counts, ledger=ledger, **rest)


def commands(counts: dict[str, int], **rest: Any) -> list[str]:
    """The commands about a run, without ``gotsurge``."""
    return [step.command.removeprefix("gotsurge ") for step in next_steps(standing_of(counts, **rest))]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOTSURGE_LEDGER", "GOTSURGE_API_BASE", "GOTSURGE_ENV"):
        monkeypatch.delenv(name, raising=False)


def test_nothing_is_left_to_do() -> None:
    """A run that went well needs no command."""
    assert commands({}) == commands({"created": 3, "refused": 0, "in_doubt": 0, "unprocessed": 0}) == []


def test_each_word_has_its_command() -> None:
    """Doubts first, since nothing else settles them; a plain partner's need a person with the file, or an event."""
    where = "RUN --env sandbox --ledger /books/l.db"
    assert commands({"in_doubt": 1, "unprocessed": 1, "refused": 1}, recorded=False) == [
        f"results {where}",
        f"resolve {where} --file gotsurge-results/RUN-in-doubt.csv",
        "receive --env sandbox --ledger /books/l.db",
        f"resume {where}",
        f"retry {where}",
    ]
    assert commands({"in_doubt": 1}, mode=Mode.TWO_PHASE) == [f"reconcile {where}"]
    assert commands({"in_doubt": 1}, columns=None, recorded=False)[1].endswith("RUN-in-doubt.jsonl")


def test_reconcile_is_named_only_where_it_can_read() -> None:
    """A recorded task is read by its id; a platform partner may have asked for direct mode; else there is no list."""
    where = "RUN --env sandbox --ledger /books/l.db"
    assert commands({"in_doubt": 1}, recorded=True)[0] == f"reconcile {where}"
    options = {"mode": "direct", "account": "acme"}
    *_, receive, reconcile = commands({"in_doubt": 1}, recorded=False, options=options)
    assert receive == "receive --env sandbox --ledger /books/l.db --account acme"
    assert reconcile == f"reconcile {where}"
    assert not any("reconcile" in each for each in commands({"in_doubt": 1}, was_read=True))
    elsewhere = {"recorded": False, "elsewhere": 1, "owners": ["FIRST", "SECOND"]}
    assert commands({"in_doubt": 1}, **elsewhere) == [
        "status FIRST --env sandbox --ledger /books/l.db",
        "status SECOND --env sandbox --ledger /books/l.db",
    ]
    assert commands({"in_doubt": 1}, mode=Mode.TWO_PHASE, **elsewhere) == [
        "reconcile --env sandbox --ledger /books/l.db"
    ]


def test_orders_in_doubt_in_two_runs_have_the_commands_of_both() -> None:
    """Those of an earlier run are not counted with the run's own, whose commands do not settle them."""
    place = "--env sandbox --ledger /books/l.db"
    mixed = {"elsewhere": 2, "owners": ["FIRST"], "recorded": False, "options": {"mode": "direct"}}
    names = [command.split(" --")[0] for command in commands({"in_doubt": 3}, **mixed)]
    assert names == ["results RUN", "resolve RUN", "receive", "reconcile RUN", "status FIRST", "reconcile FIRST"]
    platform = commands({"in_doubt": 3}, mode=Mode.TWO_PHASE, elsewhere=2)
    assert platform == [f"reconcile RUN {place}", f"reconcile {place}"]


def test_the_steps_of_a_plain_partners_doubts_work_as_they_stand(shell: Shell) -> None:
    """A push in the mode that the account has names resolve and the receiver; a second push, the run to look at."""
    shell.simulator.order_fault(Fault(operation="tasks.create", when="before", kind="reset"))
    _, summary = shell.push("A", "B", GOTSURGE_SETTLE="0")
    shell.simulator.clear_faults()
    assert [command.split()[1] for command in summary["next"]] == ["resolve", "receive"]
    _, again = shell.push("A", "B")
    (status,) = again["next"]
    assert shlex.split(status)[1:3] == ["status", summary["run"]]
    shown = shell.run(*shlex.split(status)[1:], "--json")
    assert [command.split()[1] for command in shell.document(shown)["next"]] == ["resolve", "receive"]
    file = Path(summary["files"]["in_doubt"])
    file.write_text(file.read_text(encoding="utf-8").replace(",in_doubt,", ",not_created,"), encoding="utf-8")
    done = shell.run(*shlex.split(summary["next"][0])[1:])
    assert (done.exit_code, "2 not created" in done.stdout) == (0, True), done.output


def test_a_refused_row_is_mended_in_its_file() -> None:
    """The push of the failed file reads it as the source was read."""
    options = {"reading": ["--map", "my map.toml", "--timezone", "Asia/Singapore"], "account": "acme"}
    (command,) = commands({"refused": 2}, files={"refused": "out/RUN-refused.csv"}, options=options)
    assert command == (
        "push out/RUN-refused.csv --env sandbox --account acme --map 'my map.toml' --timezone Asia/Singapore "
        "--header-row 1 --ledger /books/l.db"
    )
    options |= {"form": {"format": "xlsx", "sheet": "April"}}
    (command,) = commands({"refused": 2}, files={"refused": "out/RUN-refused.xlsx"}, options=options)
    assert command.endswith("--timezone Asia/Singapore --header-row 1 --sheet April --ledger /books/l.db")


def test_only_what_is_needed_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The ledger unless it is found without, the API base unless the environment or the shell says it."""
    monkeypatch.setenv("GOTSURGE_LEDGER", "/books/l.db")
    known = {"options": {"api_base": "https://staging.gotsurge.co/api/partnership/v1"}}
    assert commands({"unprocessed": 1}, **known) == ["resume RUN --env sandbox"]
    other = {"options": {"api_base": "https://example.com/api"}}
    assert commands({"unprocessed": 1}, **other) == ["resume RUN --env sandbox --api-base https://example.com/api"]
    local = {"environment": "local", "options": {"api_base": "http://127.0.0.1:1/a"}}
    assert commands({"unprocessed": 1}, **local) == ["resume RUN --env local --api-base http://127.0.0.1:1/a"]
    monkeypatch.setenv("GOTSURGE_API_BASE", "http://127.0.0.1:1/a")
    assert commands({"unprocessed": 1}, **local) == ["resume RUN --env local"]
    (elsewhere,) = commands({"unprocessed": 1}, **known)
    assert elsewhere == "resume RUN --env sandbox --api-base https://staging.gotsurge.co/api/partnership/v1"
    assert commands({"unprocessed": 1}, ledger=tmp_path / "b c.db")[0].endswith(f"--ledger '{tmp_path}/b c.db'")


def test_a_worker_is_told_the_account_and_the_server_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where this shell has the API base as a variable: the worker may be on another machine."""
    usual = standing_of({}, options={"api_base": "https://staging.gotsurge.co/api/partnership/v1"})
    assert usual.worker == "gotsurge worker --env sandbox --ledger /books/l.db"
    own = {"api_base": "http://127.0.0.1:1/a", "account": "plain"}
    monkeypatch.setenv("GOTSURGE_API_BASE", own["api_base"])
    where = "--env local --api-base http://127.0.0.1:1/a --account plain"
    local = standing_of({}, environment="local", options=own)
    assert local.worker == f"gotsurge worker {where} --ledger /books/l.db"


def test_no_command_tells_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger in PostgreSQL is named by what leads to it, and by no secret; not at all where it is usual."""
    url = "postgresql://me:secret@[::1]:5433/books?sslmode=require&password=secret&sslpassword=secret&host=/run"
    (command,) = commands({"unprocessed": 1}, ledger=url)
    assert command == ("resume RUN --env sandbox --ledger 'postgresql://me@[::1]:5433/books?sslmode=require&host=/run'")
    monkeypatch.setenv("GOTSURGE_LEDGER", url)
    assert commands({"unprocessed": 1}, ledger=url) == ["resume RUN --env sandbox"]


def test_a_throw_away_simulator_is_gone(tmp_path: Path) -> None:
    """Its orders can only be pushed again, to a new one."""
    in_doubt = tmp_path / "RUN-in-doubt.csv"
    in_doubt.touch()
    files = {"unprocessed": "out/RUN-unprocessed.csv", "in_doubt": str(in_doubt)}
    assert commands({"in_doubt": 1, "unprocessed": 1}, environment="simulator", files=files) == [
        f"resolve RUN --env simulator --ledger /books/l.db --file {in_doubt}",
        "push out/RUN-unprocessed.csv --simulate --ledger /books/l.db",
    ]


def test_what_must_come_first_does() -> None:
    """A sign-in, and result files that are missing."""
    assert commands({"unprocessed": 1}, sign_in=True, results_failed=True, options={"account": "acme"}) == [
        "results RUN --env sandbox --ledger /books/l.db --out FOLDER",
        "auth login --env sandbox --account acme",
        "resume RUN --env sandbox --ledger /books/l.db --out FOLDER",
    ]
    assert commands({"in_doubt": 1}, results_failed=True, recorded=False)[:2] == [
        "results RUN --env sandbox --ledger /books/l.db --out FOLDER",
        "resolve RUN --env sandbox --ledger /books/l.db --file FOLDER/RUN-in-doubt.csv",
    ]
    assert not any("auth login" in each for each in commands({"unprocessed": 1}, environment="local", sign_in=True))


def test_rows_that_were_changed_have_a_way_on() -> None:
    """A platform partner's tasks are changed; a plain partner takes the order back, and pushes it again."""
    files = {"changed": "out/RUN-changed.csv"}
    where = "--env sandbox --ledger /books/l.db"
    assert commands({"changed": 2}, mode=Mode.TWO_PHASE, files=files) == [
        f"push out/RUN-changed.csv {where} --replace-changed"
    ]
    assert commands({"changed": 2}, files=files) == [
        f"undo RUN {where} --key KEY",
        f"push out/RUN-changed.csv {where}",
    ]
    assert commands({"changed": 2}) == [f"results RUN {where}"]
    assert commands({"changed": 2}, environment="simulator", files=files) == []


def test_the_commands_of_a_push_work_as_they_stand(shell: Shell) -> None:
    """Typed one after the other they bring every order to its end."""
    shell.simulator.order_fault(Fault(operation="tasks.create", when="before", kind="status", status=422, times=1))
    words = ("--batch-size", "1", "--concurrency", "1", "--max-errors", "0")
    _, summary = shell.push("A", "B", words=words)
    for command in summary["next"]:
        done = shell.run(*shlex.split(command)[1:], "--quiet", "--json")
        assert done.exit_code in (0, 1), done.output
    assert shell.simulator.audit()["by_tracking_id"] == {"A": 1, "B": 1}


def test_reasons_are_counted_without_what_tells_one_from_another(shell: Shell) -> None:
    """Why orders were not created is reported to people, and in JSON with counts, the most frequent first."""
    for status, times in ((422, 1), (409, 2)):
        shell.simulator.order_fault(
            Fault(operation="tasks.create", when="before", kind="status", status=status, times=times)
        )
    file = shell.push("A", "B", "C", words=("--batch-size", "1", "--concurrency", "1"))[1]
    reasons = file["reasons"]
    assert [(each["verdict"], each["count"]) for each in reasons] == [("refused", 2), ("refused", 1)]
    assert ("409" in reasons[0]["reason"], "422" in reasons[1]["reason"]) == (True, True)
    assert "request id" not in str(reasons)
    text = shell.on_ledger("results", file["run"], "--out", shell.folder / "again").stdout
    assert f"why refused:\n  2 × {reasons[0]['reason']}\n  1 × {reasons[1]['reason']}\n" in text
