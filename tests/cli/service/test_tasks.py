"""`gotsurge tasks` against a simulator over real HTTP."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gotsurge_async.bulk import Ledger
from gotsurge_async.simulator import Fault, Simulator, SimulatorOptions
from tests.simulator.kit import order as plain_order
from tests.support.commands import Runner, Shell, local


def order(tracking_id: Any, **changes: Any) -> dict[str, Any]:
    """An order that is good for years."""
    window = {"start_time_utc": "2090-01-02T02:00:00Z", "end_time_utc": "2090-01-02T04:00:00Z"}
    later = {"start_time_utc": "2090-01-02T05:00:00Z", "end_time_utc": "2090-01-02T07:00:00Z"}
    return plain_order(tracking_id, from_time_window=window, to_time_window=later, **changes)


def written(path: Path, content: Any) -> Path:
    """A file with this JSON."""
    path.write_text(json.dumps(content))
    return path


def created(run: Runner, simulator: Simulator, *orders: dict[str, Any], platform: bool = False) -> list[str]:
    """The ids of new tasks."""
    words = ["--platform"] if platform else []
    done = run("tasks", "create", "-", *local(simulator), "--json", *words, stdin=json.dumps(list(orders)))
    assert done.exit_code == 0, done.output
    return [row["id"] for row in json.loads(done.stdout)["orders"]]


def lines(done: Result) -> list[list[str]]:
    """Standard output as cells."""
    return [line.split("\t") for line in done.stdout.splitlines()]


@pytest.mark.parametrize("platform", [False, True])
@pytest.mark.parametrize(
    "content",
    [
        json.dumps(order("A")),
        json.dumps([order("A")], indent=2),
        json.dumps({"tasks": [order("A")]}),
        json.dumps(order("A")) + "\n",
    ],
    ids=["one", "list", "body", "line"],
)
def test_an_order_is_created_in_one_call(run: Runner, simulator: Simulator, content: str, platform: bool) -> None:
    """From standard input, in any of the shapes: a row with the task's id, exit 0, one call."""
    done = run("tasks", "create", "-", *local(simulator), *(["--platform"] if platform else []), stdin=content)
    assert (done.exit_code, done.stderr) == (0, "")
    heading, row = lines(done)
    assert heading == ["tracking_id", "result", "id", "status", "error"]
    assert (row[:2], row[3:]) == (["A", "created"], ["broadcasting", ""])
    audit = simulator.audit()
    assert audit["by_tracking_id"] == {"A": 1}
    assert audit["calls"]["platform.drafts.create" if platform else "tasks.create"] == 1


@pytest.mark.parametrize("platform", [False, True])
def test_the_same_order_is_created_once(run: Runner, simulator: Simulator, platform: bool) -> None:
    """Typed again it is already pushed, with the same task; with another content it is changed, exit 7."""
    words = ["tasks", "create", "-", *local(simulator), *(["--platform"] if platform else [])]
    first, again, other = (
        run(*words, stdin=json.dumps(each)) for each in (order("A"), order("A"), order("A", price=4_850_000))
    )
    assert [done.exit_code for done in (first, again, other)] == [0, 0, 7]
    assert [lines(done)[1][1] for done in (first, again, other)] == ["created", "already pushed", "changed"]
    assert lines(first)[1][2] == lines(again)[1][2]
    assert lines(other)[1][4] == "pushed before, and differs in price"
    assert simulator.audit()["by_tracking_id"] == {"A": 1}


def test_many_lines_are_many_orders(run: Runner, simulator: Simulator, tmp_path: Path) -> None:
    """A file of JSON Lines goes out in one call, and --json counts the results."""
    (tmp_path / "o.jsonl").write_text("\n".join(json.dumps(order(name)) for name in "ABC"))
    done = run("tasks", "create", tmp_path / "o.jsonl", *local(simulator), "--json")
    found = json.loads(done.stdout)
    assert {name: found[name] for name in ("created", "refused", "in_doubt", "unprocessed")} == {
        "created": 3,
        "refused": 0,
        "in_doubt": 0,
        "unprocessed": 0,
    }
    assert simulator.audit()["calls"]["tasks.create"] == 1


@pytest.mark.parametrize("count", [0, 21])
def test_none_and_more_than_20_are_refused(run: Runner, simulator: Simulator, count: int) -> None:
    """Exit 2, nothing is sent, and the message names gotsurge push."""
    done = run("tasks", "create", "-", *local(simulator), stdin=json.dumps([order(str(n)) for n in range(count)]))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "gotsurge push" in done.stderr
    assert simulator.audit()["calls"] == {}


def test_every_fault_is_reported_before_anything_is_sent(run: Runner, simulator: Simulator) -> None:
    """By the number of the order and the field, exit 2."""
    orders = [order("A"), order("B", price=100_000), order("C", vehicle_preference="cra", colour="red"), 7]
    done = run("tasks", "create", "-", *local(simulator), stdin=json.dumps(orders))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "<stdin>: order 2: price" in done.stderr
    assert "SGD 1.00 is below the lowest price, SGD 2.00" in done.stderr
    assert "order 3: vehicle_preference" in done.stderr
    assert "order 3: colour" in done.stderr
    assert "order 4: is not an order" in done.stderr
    assert done.stderr.splitlines()[-2:] == ["nothing was sent", "see: gotsurge explain E228 E212 E224"]
    assert simulator.audit()["calls"] == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "standard input is not JSON"),
        ('{"a": 1}\n{', "standard input is neither JSON nor JSON Lines; line 2: "),
        (json.dumps([order("A"), order("A")]), "tracking_id A appears twice"),
        (json.dumps(order(...)), "tracking_id"),
    ],
)
def test_what_cannot_be_orders_is_refused(run: Runner, simulator: Simulator, content: str, message: str) -> None:
    """Exit 2, with the reason; nothing is sent."""
    done = run("tasks", "create", "-", *local(simulator), stdin=content)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert simulator.audit()["calls"] == {}


def test_a_file_that_is_not_there_is_reported(run: Runner, simulator: Simulator) -> None:
    """Exit 2."""
    done = run("tasks", "create", "none.json", *local(simulator))
    assert done.exit_code == 2
    assert "none.json: No such file" in done.stderr


def test_a_price_above_the_limit_needs_a_word(run: Runner, simulator: Simulator) -> None:
    """1000 units pass without; --max-price raises the limit, as for a push."""
    dear = json.dumps(order("A", price=200_000_000))
    assert run("tasks", "create", "-", *local(simulator), stdin=dear).exit_code == 2
    assert run("tasks", "create", "-", *local(simulator), "--max-price", "2000", stdin=dear).exit_code == 0


def test_times_without_a_zone_need_one(run: Runner, simulator: Simulator) -> None:
    """--timezone reads them."""
    naive = json.dumps(order("A", client_time_utc="2026-01-01T08:00:00"))
    assert run("tasks", "create", "-", *local(simulator), stdin=naive).exit_code == 2
    done = run("tasks", "create", "-", *local(simulator), "--timezone", "Asia/Singapore", "--json", stdin=naive)
    task_id = json.loads(done.stdout)["orders"][0]["id"]
    found = json.loads(run("tasks", "get", task_id, *local(simulator), "--json").stdout)
    assert found["client_time_utc"] == "2026-01-01T00:00:00Z"


def test_a_pickup_that_is_over_is_a_warning(run: Runner, simulator: Simulator) -> None:
    """It is reported on stderr, and sent all the same."""
    past = json.dumps(
        plain_order(
            "A", from_time_window={"start_time_utc": "2020-01-01T00:00:00Z", "end_time_utc": "2020-01-01T01:00:00Z"}
        )
    )
    done = run("tasks", "create", "-", *local(simulator), stdin=past)
    assert done.exit_code == 0
    assert done.stderr.startswith("warning: <stdin>: order 1: from_time_window.end_time_utc")


@pytest.mark.parametrize(
    ("fault", "code", "word"),
    [
        (Fault(operation="tasks.create", when="after", kind="reset"), 3, "in doubt"),
        (Fault(operation="tasks.create", when="before", kind="status", status=422), 1, "refused"),
    ],
    ids=["lost", "refused"],
)
def test_what_went_wrong_is_a_row_and_an_exit_code(
    run: Runner, simulator: Simulator, fault: Fault, code: int, word: str
) -> None:
    """A lost answer is in doubt (3), a refusal is refused (1), and neither is sent again."""
    simulator.order_fault(fault)
    done = run("tasks", "create", "-", *local(simulator), stdin=json.dumps([order("A"), order("B")]))
    assert done.exit_code == code
    assert [row[:3] for row in lines(done)[1:]] == [["A", word, ""], ["B", word, ""]]
    assert all("tasks.create" in row[4] for row in lines(done)[1:])
    assert simulator.audit()["calls"]["tasks.create"] == 1


def test_a_token_that_is_refused_is_a_matter_of_signing_in(run: Runner, simulator: Simulator) -> None:
    """Exit 4; the orders were not sent, and say so."""
    done = run("tasks", "create", "-", *local(simulator), stdin=json.dumps(order("A")), GOTSURGE_BEARER_TOKEN="wrong")
    assert done.exit_code == 4
    assert lines(done)[1][:2] == ["A", "unprocessed"]
    assert "Error: " in done.stderr
    assert "wrong" not in done.output


def test_nobody_signed_in_is_reported(run: Runner) -> None:
    """Exit 4, and how to sign in; without a place to go exit 2."""
    done = run("tasks", "get", "x", "--env", "sandbox")
    assert (done.exit_code, done.stdout) == (4, "")
    assert "gotsurge auth login" in done.stderr
    assert run("tasks", "get", "x").exit_code == 2


@pytest.mark.parametrize("platform", [False, True])
def test_a_task_is_shown(run: Runner, simulator: Simulator, platform: bool) -> None:
    """A line a field, money in units of its currency; --json is the API's own object."""
    (task_id,) = created(run, simulator, order("A"), platform=platform)
    words = ["tasks", "get", task_id, *local(simulator), *(["--platform"] if platform else [])]
    done = run(*words)
    assert (done.exit_code, done.stderr) == (0, "")
    fields = dict(lines(done))
    assert fields["id"] == task_id
    assert (fields["tracking_id"], fields["price"], fields["status"]) == ("A", "SGD 5.00", "broadcasting")
    assert fields["pickup"] == "1 Pioneer Rd; 2090-01-02 02:00:00Z to 2090-01-02 04:00:00Z; Ng, +6581234567"
    assert fields["delivery"].endswith("Master, MV EXAMPLE")
    assert fields["distance"].endswith(" m")
    assert "driver" not in fields
    found = json.loads(run(*words, "--json").stdout)
    assert (found["id"], found["price"], found["current_status"]) == (task_id, 500_000, "broadcasting")


def test_a_task_that_is_not_there_is_a_refusal(run: Runner, simulator: Simulator) -> None:
    """Exit 1, the service's words on stderr, nothing on stdout."""
    done = run("tasks", "get", "none", *local(simulator))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "tasks.get: HTTP 404: There is no such task" in done.stderr


def without_the_ledger(run: Runner) -> list[str]:
    """Options with which a command knows of no order."""
    return ["--ledger", str(run.home / "none.db")]


def test_a_task_is_cancelled(run: Runner, simulator: Simulator) -> None:
    """One that the ledger does not know: the service's message, exit 0, also when it was cancelled before."""
    (task_id,) = created(run, simulator, order("A"))
    words = ["tasks", "cancel", task_id, "--reason", "wrong", *local(simulator), *without_the_ledger(run)]
    first = run(*words)
    assert (first.exit_code, first.stdout, first.stderr) == (0, "Successfully cancel the task\n", "")
    again = run(*words, "--json")
    assert (again.exit_code, json.loads(again.stdout)) == (0, {"message": "the task is cancelled"})


def test_the_task_of_an_order_is_cancelled_with_the_order(run: Runner, simulator: Simulator) -> None:
    """The ledger records it, so the order may be created again; a cancel that is not answered is in doubt there."""
    (task_id,) = created(run, simulator, order("A"))
    words = ["tasks", "cancel", task_id, "--reason", "wrong", *local(simulator)]
    done = run(*words)
    assert (done.exit_code, f"task {task_id} is order A of run " in done.stderr) == (0, True)
    (second,) = created(run, simulator, order("A"))
    assert second != task_id
    simulator.order_fault(Fault(operation="tasks.cancel", when="late", kind="reset", seconds=60))
    words[2] = second
    done = run(*words)
    assert (done.exit_code, "may still take effect until" in done.stderr) == (3, True)
    simulator.clear_faults()
    assert lines(run("tasks", "create", "-", *local(simulator), stdin=json.dumps(order("A"))))[1][:2] == [
        "A",
        "in doubt",
    ]
    simulator.advance(61)
    again = run("reconcile", *local(simulator))
    assert (again.exit_code, "1 cancelled" in again.stdout) == (0, True)
    created(run, simulator, order("A"))


@pytest.mark.usefixtures("at_once")
def test_the_task_of_an_order_that_waits_is_cancelled(platform_shell: Shell) -> None:
    """Its broadcast was refused, and its draft is recorded: no resume sends it after the cancel."""
    shell = platform_shell
    shell.simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=403))
    _, summary = shell.push("A")
    shell.simulator.clear_faults()
    (task,) = shell.simulator.tasks()
    done = shell.run("tasks", "cancel", task["id"], "--reason", "x", *shell.place, *shell.ledger)
    assert (done.exit_code, "1 drafts cancelled" in done.stdout) == (0, True), done.output
    shell.call("resume", summary["run"], "--quiet")
    (task,) = shell.simulator.tasks()
    assert [status for status, *_ in task["history"]][-1] == "cancelled"


@pytest.mark.parametrize("is_held", [False, True])
@pytest.mark.usefixtures("at_once")
def test_no_order_goes_on_with_a_draft_whose_cancel_was_not_answered(
    run: Runner, tmp_path: Path, is_held: bool
) -> None:
    """It is the draft of a withdrawn order: the late cancel would end the next order of the key after its broadcast."""

    async def work() -> None:
        async with Simulator(options=SimulatorOptions(tracking_id_unique="drafts-too")) as simulator:
            where = [*local(simulator), "--ledger", str(tmp_path / "ledger.db")]

            async def cli(*words: str, **more: Any) -> Result:
                return await asyncio.to_thread(run, *words, *where, **more)

            async def create() -> str:
                done = await cli("tasks", "create", "-", "--platform", stdin=json.dumps(order("A")))
                return lines(done)[1][1]

            simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=403))
            assert await create() == "unprocessed"
            simulator.clear_faults()
            (task,) = simulator.tasks()
            async with AsyncExitStack() as stack:
                if is_held:
                    ledger = await stack.enter_async_context(await Ledger.open(tmp_path / "ledger.db"))
                    await stack.enter_async_context(await ledger.hold((await ledger.runs())[0].id))
                simulator.order_fault(Fault(operation="tasks.cancel", when="late", kind="reset", seconds=60))
                done = await cli("tasks", "cancel", task["id"], "--reason", "x", "--account", "platform")
            assert done.exit_code == 3, done.output
            simulator.clear_faults()
            assert await create() == "refused"
            assert [task["draft"] for task in simulator.tasks()] == [True]

    asyncio.run(work())


@pytest.mark.usefixtures("at_once")
def test_a_draft_that_an_order_in_flight_may_have_is_not_cancelled(
    platform_shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 6, with the run of that order, and nothing is sent: no driver sees the draft meanwhile."""
    shell = platform_shell
    shell.simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=403))
    words = (*shell.place, *shell.ledger)
    assert shell.run("tasks", "create", "-", "--platform", *words, stdin=json.dumps(order("A"))).exit_code == 4
    (task,) = shell.simulator.tasks()

    async def in_flight(*_: object, **__: object) -> dict[str, str]:
        return {task["id"]: "RUN-2"}

    monkeypatch.setattr(Ledger, "begin_cancel", in_flight)
    done = shell.run("tasks", "cancel", task["id"], "--reason", "x", *words)
    assert (done.exit_code, "run RUN-2 may be using this draft" in done.stderr) == (6, True), done.output
    assert "tasks.cancel" not in shell.simulator.audit()["calls"]


def test_a_task_of_a_run_that_a_process_has_is_cancelled_all_the_same(
    run: Runner, simulator: Simulator, tmp_path: Path
) -> None:
    """A driver may be on the way: nobody can wait until a desk has left its run. An audit records it later."""
    where = [*local(simulator), "--ledger", str(tmp_path / "ledger.db")]
    done = run("tasks", "create", "-", *where, "--json", stdin=json.dumps([order("A")]))
    task_id = json.loads(done.stdout)["orders"][0]["id"]

    async def cancel() -> Result:
        async with await Ledger.open(tmp_path / "ledger.db") as ledger:
            (info,) = await ledger.runs()
            async with await ledger.hold(info.id):
                return await asyncio.to_thread(run, "tasks", "cancel", task_id, "--reason", "wrong", *where)

    done = asyncio.run(cancel())
    assert (done.exit_code, "gotsurge audit --env local --repair" in done.stderr) == (0, True), done.output
    assert simulator.tasks()[0]["history"][-1][0] == "cancelled"


def test_a_person_is_asked_before_a_task_is_cancelled(
    run: Runner, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a terminal no cancels nothing, and --yes is not asked."""
    monkeypatch.setattr("gotsurge_async.cli.service.tasks.at_a_terminal", lambda: True)
    (task_id,) = created(run, simulator, order("A"))
    words = ["tasks", "cancel", task_id, "--reason", "wrong", *local(simulator), *without_the_ledger(run)]
    done = run(*words, stdin="n\n")
    assert (done.exit_code, "nothing was cancelled" in done.stderr) == (2, True)
    assert f"Cancel task {task_id} (local)?" in done.stderr
    assert simulator.audit()["calls"].get("tasks.cancel", 0) == 0
    assert run(*words, "--yes").exit_code == 0
    assert simulator.audit()["calls"]["tasks.cancel"] == 1


def test_too_late_to_cancel_says_where_the_task_stands(run: Runner, simulator: Simulator) -> None:
    """Exit 1, with the status."""
    (task_id,) = created(run, simulator, order("A"))
    simulator.move(task_id, "accepted")
    done = run("tasks", "cancel", task_id, "--reason", "wrong", *local(simulator), *without_the_ledger(run))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "the task is accepted" in done.stderr


def test_tasks_are_listed(run: Runner, simulator: Simulator) -> None:
    """A row each, in the order that was asked for, no more than the limit."""
    ids = created(run, simulator, *(order(f"T-{n}") for n in range(5)), platform=True)
    done = run("tasks", "list", *local(simulator))
    heading, *rows = lines(done)
    assert heading == ["id", "tracking_id", "status", "price", "pickup", "delivery"]
    assert [row[0] for row in rows] == ids
    assert rows[0][2:4] == ["broadcasting", "SGD 5.00"]
    newest = run("tasks", "list", *local(simulator), "--order", "desc", "--limit", "2", "--json")
    assert [task["id"] for task in json.loads(newest.stdout)] == ids[:-3:-1]


def test_fields_are_changed(run: Runner, simulator: Simulator) -> None:
    """Text, money in the task's own currency, an object, a time, and a field that is cleared; the rest stays."""
    (task_id,) = created(run, simulator, order("A", group_tag="old", delivery_note_to_driver="ring"), platform=True)
    done = run(
        *("tasks", "update", task_id, *local(simulator), "--json"),
        *("--set", "group_tag=MV = Example", "--set", "price=48.50", "--set", "max_price=SGD 60"),
        *("--set", 'to_contact={"name": "Tan"}', "--set", "cargo_net_quantity=7", "--set", "total_item_weight=2.5"),
        *("--set", "client_time_utc=2026-01-01T08:00:00+08:00", "--set", "vehicle_preference=car"),
        *("--set", 'cargo_details=[{"name": "Rope"}]', "--clear", "delivery_note_to_driver"),
    )
    assert (done.exit_code, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["group_tag"], found["price"], found["max_price"]) == ("MV = Example", 4_850_000, 6_000_000)
    assert (found["to_contact"], found["cargo_net_quantity"]) == ({"name": "Tan"}, 7)
    assert (found["client_time_utc"], found["vehicle_preference"]) == ("2026-01-01T00:00:00Z", "car")
    assert (found["total_item_weight"], found["cargo_details"]) == (2.5, [{"name": "Rope"}])
    assert "delivery_note_to_driver" not in found
    assert found["invoice_number"] == "INV-1"


def test_an_old_revision_changes_nothing(run: Runner, simulator: Simulator) -> None:
    """--version-rev guards the change: exit 1 and the newest revision when somebody was faster."""
    (task_id,) = created(run, simulator, order("A"), platform=True)
    words = ["tasks", "update", task_id, *local(simulator), "--set"]
    before = json.loads(run(*words, "group_tag=one", "--json").stdout)["version_rev"]
    newer = json.loads(run(*words, "group_tag=two", "--json").stdout)["version_rev"]
    done = run(*words, "group_tag=three", "--version-rev", before)
    assert (done.exit_code, done.stdout) == (1, "")
    assert newer in done.stderr
    done = run(*words, "group_tag=three", "--version-rev", newer)
    assert dict(lines(done))["group_tag"] == "three"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name what to change"),
        (["--set", "price"], "is not FIELD=VALUE"),
        (["--set", "=1"], "is not FIELD=VALUE"),
        (["--set", "price=1,50x"], "price: '1,50x' is not an amount such as 1000 or SGD 1000.00"),
        (["--set", "cargo_net_quantity=2.5"], "cargo_net_quantity: '2.5': write a whole number with digits only"),
        (["--set", "total_item_weight=much"], "total_item_weight: 'much': write a number with digits"),
        (["--set", "client_time_utc=2026-01-01T08:00:00"], "client_time_utc: "),
        (["--set", "to_contact=Tan"], "to_contact: "),
        (["--set", 'to_contact={"name": 7}'], "to_contact: name: "),
        (
            [
                "--set",
                'to_time_window={"start_time_utc": "2026-01-01T08:00:00", "end_time_utc": "2026-01-02T00:00:00Z"}',
            ],
            "to_time_window: start_time_utc: 2026-01-01T08:00:00 has no time zone",
        ),
        (["--set", "cargo_details={}"], "cargo_details: "),
        (["--set", "group_tag=a", "--clear", "group_tag"], "group_tag is given twice"),
        (["--set", "items=[]"], "the items of a task cannot be changed"),
        (["--set", "grup_tag=a"], "did you mean group_tag?"),
    ],
)
def test_a_change_that_cannot_be_is_refused(run: Runner, simulator: Simulator, words: list[str], message: str) -> None:
    """Exit 2 with the field and the reason; the task is not touched."""
    (task_id,) = created(run, simulator, order("A"), platform=True)
    done = run("tasks", "update", task_id, *local(simulator), *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in " ".join(done.stderr.split())
    assert "platform.tasks.update" not in simulator.audit()["calls"]
