"""Two ledgers of one account: the second is reported before anything is sent, whoever pushes, and by whatever way."""

import asyncio
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from msgspec import structs

from gotsurge_async import Credentials, GotSurge, Secret
from gotsurge_async.bulk import Desk, Ledger, Mode, Push, SecondLedger
from gotsurge_async.ledger import OrdersThere, RegisterUnusable, SameFile
from gotsurge_async.ledger.upkeep.register import KEPT_WORLDS, Account, Keys, Register
from gotsurge_async.simulator import Fault, Simulator
from gotsurge_async.testing import START
from tests.after.test_odd_lists import list_tells
from tests.support.commands import Runner, Shell, gotsurge, local, write_orders
from tests.support.orders import orders
from tests.support.pushes import place


def push(shell: Shell, orders: Path | range | list[str], ledger: str | Path, *words: str | Path) -> tuple[int, str]:
    """Push with a ledger and result files of its own; the exit code, and all that was printed."""
    file = orders if isinstance(orders, Path) else write_orders(shell.folder / "orders.csv", orders)
    where = [*local(shell.simulator), "--ledger", shell.folder / ledger, "--out", shell.folder / f"{ledger}.out"]
    done = shell.run("push", file, *where, "--quiet", *words)
    return done.exit_code, done.output


def created(shell: Shell) -> int:
    """How many tasks the simulator has."""
    return len(shell.simulator.tasks())


def test_the_cron_line_does_not_double_what_the_timer_pushed(shell: Shell) -> None:
    """The same table by two ledgers, as the two ways of the daily job did: the second stops, also with --new-ledger."""
    assert push(shell, range(40), "timer.db")[0] == 0
    for words in ((), ("--new-ledger",)):
        code, text = push(shell, range(40), "cron.db", *words)
        assert code == 2
        assert str(shell.folder / "timer.db") in text
        assert "these orders are also in run " in text
        assert "--new-ledger" not in text
    assert created(shell) == 40
    assert push(shell, range(40), "timer.db")[0] == 0
    assert created(shell) == 40


def test_a_second_ledger_begins_only_when_a_person_says_so(shell: Shell) -> None:
    """Other orders by a new ledger: it stops and says which ledger to use; --new-ledger is asked for once."""
    first, second, third = range(3), range(3, 5), range(5, 9)
    assert push(shell, first, "a.db")[0] == 0
    code, text = push(shell, second, "b.db")
    assert code == 2
    assert f"{shell.folder / 'a.db'} (1 run, the last at " in text
    assert f"--ledger {shell.folder / 'a.db'}" in text
    assert "--new-ledger" in text
    assert created(shell) == 3
    assert shell.run("runs", "--ledger", shell.folder / "b.db", "--json").stdout.count('"run"') == 0
    assert push(shell, second, "b.db", "--new-ledger")[0] == 0
    assert push(shell, third, "b.db")[0] == 0
    assert created(shell) == 9


def test_another_user_is_reported_by_a_shared_register(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each user has folders of their own; the register in the administrator's folder knows both."""
    shared = shell.folder / "shared"
    shared.mkdir()
    shared.chmod(0o2770)
    monkeypatch.delenv("GOTSURGE_REGISTER")
    monkeypatch.setattr("gotsurge_async.ledger.upkeep.register.SHARED", shared)
    assert push(shell, range(3), "a.db")[0] == 0
    assert (shared / "register.db").stat().st_mode & 0o777 == 0o660
    code, text = push(attrs.evolve(shell, run=Runner(shell.folder / "other")), range(3), "b.db")
    assert (code, created(shell)) == (2, 3)
    assert str(shell.folder / "a.db") in text


async def test_of_two_at_once_one_begins(tmp_path: Path) -> None:
    """Two processes with two new ledgers push at the same moment: the orders of one are sent, and the other stops."""
    async with Simulator() as simulator:
        files = [write_orders(tmp_path / f"{name}.csv", [f"{name}{n}" for n in range(5)]) for name in "ab"]
        done = await asyncio.gather(
            *(
                gotsurge("push", file, *local(simulator), "--ledger", file.with_suffix(".db"), "--quiet", cwd=tmp_path)
                for file in files
            )
        )
        assert sorted(each.code for each in done) == [0, 2]
        assert len(simulator.tasks()) == 5


def test_a_simulator_that_was_reset_is_another_world(shell: Shell) -> None:
    """What was pushed before is gone, so a new ledger pushes the same file without a question."""
    assert push(shell, range(3), "a.db")[0] == 0
    shell.simulator.reset()
    assert push(shell, range(3), "b.db")[0] == 0
    assert created(shell) == 3


def test_a_throw_away_simulator_needs_no_register(run: Runner, register: Path, tmp_path: Path) -> None:
    """Each --simulate is a new world, and leaves nothing in the register."""
    file = write_orders(tmp_path / "orders.csv", range(3))
    for name in "ab":
        assert run("push", file, "--simulate", "--out", tmp_path / name, "--quiet").exit_code == 0
    assert not register.exists()


def test_an_account_of_another_name_has_a_ledger_of_its_own(shell: Shell) -> None:
    """The simulator's two partners are two accounts."""
    assert push(shell, range(3), "a.db")[0] == 0
    assert push(shell, range(3), "b.db", "--account", "platform")[0] == 0


def test_a_file_with_faults_leaves_no_trace(shell: Shell) -> None:
    """What was not admitted was not pushed: a key that stands twice refuses the file, and another ledger may begin."""
    assert push(shell, ["A", "B", "A"], "a.db")[0] == 2
    assert push(shell, ["A", "B"], "b.db")[0] == 0


def test_a_resumed_run_of_an_unknown_ledger_stops(shell: Shell, register: Path) -> None:
    """A run that another machine left is not sent where another ledger has pushed, unless a person says so."""
    limit = ("--batch-size", "1", "--concurrency", "1", "--max-spend", "SGD 50")
    assert push(shell, range(3), "a.db", *limit)[0] == 5
    register.unlink()
    assert push(shell, range(3, 6), "b.db")[0] == 0
    words = ["resume", "--last", *shell.place, "--ledger", shell.folder / "a.db", "--out", "a", "--quiet"]
    done = shell.run(*words)
    assert (done.exit_code, created(shell)) == (2, 4)
    assert str(shell.folder / "b.db") in done.output
    assert shell.run(*words, "--new-ledger").exit_code == 0
    assert created(shell) == 6


def test_orders_on_the_task_list_are_not_sent_by_a_new_ledger(shell: Shell, register: Path) -> None:
    """Another machine pushed them, so the register knows nothing; whatever is said, a platform partner's push stops."""
    words = ("--account", "platform")
    assert push(shell, range(7), "a.db", *words)[0] == 0
    register.unlink()
    for more in ((), ("--new-ledger",)):
        code, text = push(shell, range(9), "b.db", *words, *more)
        assert code == 2
        assert (
            "the account's newest 10,000 tasks already include 7 orders of this run: T-0, T-1, T-2, T-3, T-4 and 2 more"
            in text
        )
        direct = (*words, *more, "--mode", "direct")
        code, text = push(shell, range(9), "c.db", *direct)
        assert (code, "include 7 orders of this run" in text) == (2, True)
    assert push(shell, range(7, 9), "b.db", *words)[0] == 0
    assert created(shell) == 9
    register.unlink()
    assert push(shell, range(7), "a.db", *words)[0] == 0  # no new ledger: it knows what it sent


def test_orders_on_the_task_list_are_known_by_their_tracking_ids(shell: Shell) -> None:
    """A new ledger's push stops also if its file has the keys in another column."""
    words = ("--account", "platform", "--new-ledger")
    assert push(shell, range(3), "a.db", *words)[0] == 0
    file = shell.folder / "numbered.csv"
    header, *rows = write_orders(file, range(2, 5)).read_text().splitlines()
    file.write_text("\n".join([f"number,{header}", *(f"K-{at},{row}" for at, row in enumerate(rows))]))
    code, text = push(shell, file, "b.db", *words, "--key", "number")
    assert (code, created(shell)) == (2, 3)
    assert "include 1 order of this run: K-0. " in text


def test_a_task_list_that_cannot_be_read_is_reported(shell: Shell, caplog: pytest.LogCaptureFixture) -> None:
    """The push continues, because the list is only a second look."""
    shell.simulator.order_fault(Fault(operation="platform.tasks.list", when="before", kind="status", status=403))
    words = ("--account", "platform", "--mode", "two-phase")
    code, _ = push(shell, range(2), "a.db", *words)
    assert (code, created(shell)) == (0, 2)
    assert "the Task List cannot be read" in caplog.text


def test_the_register_is_private_unless_its_folder_is_not(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mode 0600 in a folder of the user alone; an administrator's folder lets others read it, or write in it."""
    for mode, expected in ((0o700, 0o600), (0o755, 0o644), (0o770, 0o660)):
        folder = shell.folder / f"{mode:o}"
        folder.mkdir()
        folder.chmod(mode)
        monkeypatch.setenv("GOTSURGE_REGISTER", str(folder / "register.db"))
        shell.simulator.reset()
        assert push(shell, range(2), f"{mode:o}.db")[0] == 0
        (count,) = (folder / "register.db.counts").iterdir()
        assert {path.stat().st_mode & 0o777 for path in (folder / "register.db", count)} == {expected}


def test_the_register_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps the digests of a ledger's newest runs, and forgets a simulator after a month."""
    kept = 10
    monkeypatch.setattr("gotsurge_async.ledger.upkeep.register.KEPT_RUNS", kept)
    register, account = Register(tmp_path / "register.db"), Account("gotsurge.test:443")
    for number in range(kept + 2):
        register.enter(account, "a", "/a.db", f"run-{number}", keys=keys_of(str(number)), now=START)
    for number in (0, 1):
        assert not register.knows(account, "b", "/b.db", keys_of(str(number)), new_ledger=True)
    with pytest.raises(SameFile, match=r"run-2 of ledger /a\.db"):
        register.knows(account, "b", "/b.db", keys_of("2"), new_ledger=True)
    register.enter(Account("127.0.0.1:1", world="w"), "c", "/c.db", "run", now=START)
    assert len(ledgers(tmp_path)) == 2
    register.enter(account, "a", "/a.db", "run", now=START + KEPT_WORLDS + timedelta(seconds=1))
    assert ledgers(tmp_path) == [("/a.db", kept + 3)]


def test_what_is_not_known_of_an_account_may_be_any(tmp_path: Path) -> None:
    """A push that knows only a token, no name, or not which simulator it is, meets every ledger of the service."""
    register, known = Register(tmp_path / "register.db"), Account("s:1", client="k", name="acme", world="w")
    register.enter(known, "a", "/a.db", "run", now=START)
    for account in (Account("s:1"), Account("s:1", client="k"), Account("s:1", name="acme", world="w")):
        with pytest.raises(SecondLedger, match=r"/a\.db"):
            register.knows(account, "b", "/b.db", None)
    for account in (structs.replace(known, client="l"), structs.replace(known, name="other"), Account("t:1")):
        assert not register.knows(account, "b", "/b.db", None)
    register.enter(Account("s:1"), "b", "/b.db", "run", now=START, new_ledger=True)
    assert len(ledgers(tmp_path)) == 2


def ledgers(folder: Path) -> list[tuple[str, int]]:
    """The path of each ledger of a register, and the number of its runs."""
    with closing(sqlite3.connect(folder / "register.db")) as db:
        return db.execute("SELECT path, runs FROM ledgers").fetchall()


def keys_of(*keys: str) -> Keys:
    """The digest of some keys."""
    made = Keys()
    made.add(keys)
    return made


# --- a register that cannot be used ----------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"no database at all, but a text that is long enough", None])
def test_a_damaged_register_stops_every_push(shell: Shell, register: Path, damage: bytes | None) -> None:
    """Nothing is sent, and the message names the file and what to do; when the file is moved away the push goes."""
    assert push(shell, range(3), "a.db")[0] == 0
    if damage is None:
        with sqlite3.connect(register) as db:
            db.execute("DROP TABLE runs")
    else:
        register.write_bytes(damage)
    for ledger in ("a.db", "b.db"):
        code, text = push(shell, range(9), ledger)
        assert code == 2
        assert str(register) in text
        assert "move the damaged register away" in text
    assert created(shell) == 3
    register.rename(register.with_suffix(".damaged"))
    assert push(shell, range(3), "a.db")[0] == 0
    assert created(shell) == 3


def test_whoever_comes_after_a_crash_in_a_transaction_rolls_it_back(tmp_path: Path) -> None:
    """A push was killed while the register was written: the next one reads what stood there before."""
    whole, crashed = Register(tmp_path / "register.db"), Register(tmp_path / "crashed.db")
    whole.enter(Account("host"), "one", "one.db", "run", keys=keys_of("a"), now=START)
    with closing(sqlite3.connect(whole.path, isolation_level=None)) as db:
        db.execute("PRAGMA cache_size = 1")  # so that changes are in the file before the transaction ends
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO runs (ledger, run) VALUES (1, ?)", [(f"{n}" * 99,) for n in range(999)])
        for end in ("", "-journal"):
            shutil.copy(f"{whole.path}{end}", f"{crashed.path}{end}")
    assert crashed.knows(Account("host"), "one", "one.db", None)
    assert whole.path.read_bytes() == crashed.path.read_bytes()


def test_a_full_disk_under_the_register_sends_nothing(
    shell: Shell, register: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The push stops before its orders are admitted."""
    assert push(shell, range(3), "a.db")[0] == 0

    def full(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorname = "SQLITE_FULL"
        raise error

    monkeypatch.setattr("gotsurge_async.ledger.upkeep.register._note", full)
    code, text = push(shell, range(9), "a.db")
    assert (code, created(shell)) == (2, 3)
    assert f"{register} cannot be written: database or disk is full" in text


def test_a_register_for_reading_only_lets_known_ledgers_push(
    shell: Shell,
    register: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The push of a ledger that it knows continues, and says so; one that it does not know stops."""
    assert push(shell, range(3), "a.db")[0] == 0

    def read_only(self: Register) -> sqlite3.Connection:
        """What SQLite opens if the file's mode forbids writing; the tests' user may be root, whom no mode binds."""
        return sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, isolation_level=None)

    monkeypatch.setattr(Register, "_connected", read_only)
    assert push(shell, range(4), "a.db")[0] == 0
    assert "it knows this ledger, so the push continues" in caplog.text
    for words in ((), ("--new-ledger",)):
        code, text = push(shell, range(9), "b.db", *words)
        assert code == 2
        assert str(register if words else shell.folder / "a.db") in text
    assert created(shell) == 4


# --- copies ----------------------------------------------------------------------------------------------------------


def test_a_copy_elsewhere_is_noticed_once_the_other_has_counted(shell: Shell) -> None:
    """The same ledger at two paths, with results in two folders: whichever lacks what the other sent is refused."""
    files = [range(n * 3, n * 3 + 3) for n in range(3)]
    folder = shell.folder / "elsewhere"
    folder.mkdir()
    assert push(shell, files[0], "a.db")[0] == 0
    shutil.copy(shell.folder / "a.db", folder / "copy.db")
    assert push(shell, files[1], "a.db")[0] == 0
    code, text = push(shell, files[1], folder / "copy.db")
    assert (code, created(shell)) == (2, 6)
    assert "is an older copy" in text
    shutil.copy(shell.folder / "a.db", folder / "copy.db")
    assert push(shell, files[2], folder / "copy.db")[0] == 0  # moved: it knows all that was sent
    code, text = push(shell, files[2], "a.db")
    assert (code, created(shell)) == (2, 9)
    assert "accept-older" in text
    assert shell.run("ledger", "check", "--ledger", shell.folder / "a.db").exit_code == 1
    accepted = shell.run("ledger", "accept-older", "--ledger", shell.folder / "a.db", "--yes")
    assert accepted.exit_code == 0, accepted.output
    assert push(shell, files[0], "a.db")[0] == 0


def test_a_ledger_that_was_moved_simply_works(shell: Shell) -> None:
    """It keeps its identity, whatever its path is."""
    assert push(shell, range(3), "a.db")[0] == 0
    (shell.folder / "moved").mkdir()
    (shell.folder / "a.db").rename(shell.folder / "moved" / "b.db")
    assert push(shell, range(3), "moved/b.db")[0] == 0
    assert created(shell) == 3


def test_a_ledger_that_was_deleted_is_missed_in_its_own_place(shell: Shell) -> None:
    """A new ledger where another one was: the message says to put that one back, not to name its path."""
    assert push(shell, range(3), "a.db")[0] == 0
    for left in shell.folder.glob("a.db*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    code, text = push(shell, range(3), "a.db")
    assert (code, created(shell)) == (2, 3)
    assert "Another ledger was at this path before: put that ledger, or its newest backup, back" in text


# --- programs --------------------------------------------------------------------------------------------------------


async def test_a_programs_push_raises(tmp_path: Path) -> None:
    """`Push` raises SecondLedger before it admits anything; ``new_ledger`` is the decision, not for the same orders."""
    async with Simulator() as simulator:
        known = simulator.accounts["plain"]
        credentials = Credentials(client_key=known.client_key, secret_key=Secret(known.secret_key))
        async with (
            GotSurge("local", api_base=simulator.api_base, credentials=credentials) as gs,
            await Ledger.open(tmp_path / "a.db") as first,
            await Ledger.open(tmp_path / "b.db") as second,
        ):
            await gs.sign_in(simulator.new_code("plain"))
            push = Push(gs, first, mode=Mode.DIRECT)
            async with (await push.load_orders(orders(3)))[0] as run:
                await push.send(run)
            with pytest.raises(SecondLedger, match="--new-ledger") as raised:
                await Push(gs, second).load_orders(orders(5))
            assert isinstance(raised.value, ValueError)
            with pytest.raises(SameFile):
                await Push(gs, second, new_ledger=True).load_orders(reversed(orders(3)))
            assert await second.runs() == []
            push = Push(gs, second, new_ledger=True)
            async with (await push.load_orders(orders(5)))[0] as run:
                await push.send(run)
            run, _ = await Push(gs, second).load_orders(orders(6))
            await run.close()
        assert len(simulator.tasks()) == 8


@pytest.mark.parametrize("number", [0, 2])
async def test_a_programs_order_is_known_by_its_tracking_id(tmp_path: Path, number: int) -> None:
    """A new ledger's push stops if the Task List has one order whose key is not its tracking id, the first or last."""
    sent = orders(3)[number]
    async with place(tmp_path) as at, await Ledger.open(tmp_path / "other.db") as other:
        await at.push([sent], mode=Mode.TWO_PHASE)
        with pytest.raises(OrdersThere, match=r"include 1 order of this run: another\. "):
            await Push(at.gs, other, new_ledger=True).load_orders(
                orders(3), key=lambda order: "another" if order.tracking_id == sent.tracking_id else order.tracking_id
            )
        assert await other.runs() == []


def _in_small_letters(page: dict[str, Any]) -> dict[str, Any]:
    return page | {"tasks": [task | {"tracking_id": task["tracking_id"].lower()} for task in page["tasks"]]}


@pytest.mark.parametrize("switches", [{}, {"per_page_limit": 3, "meta": "absent"}])
@pytest.mark.parametrize("own_keys", [False, True])
async def test_the_task_list_is_read_whole_and_without_regard_to_capitals(
    tmp_path: Path, switches: dict[str, Any], own_keys: bool
) -> None:
    """A new ledger's push and desk send no order whose task is on a later page, its tracking id in small letters."""
    async with place(tmp_path, **switches) as at, await Ledger.open(tmp_path / "other.db") as other:
        await at.push(orders(8), mode=Mode.TWO_PHASE)
        with list_tells(at.gs, _in_small_letters):
            with pytest.raises(OrdersThere, match="include 1 order of this run"):
                await Push(at.gs, other, new_ledger=True).load_orders(
                    orders(1), key=lambda order: f"{'K-' * own_keys}{order.tracking_id}"
                )
            async with Desk(at.gs, other, new_ledger=True) as desk:
                with pytest.raises(OrdersThere):
                    await desk.create(orders(1)[0])
        assert len(at.simulator.tasks()) == 8


async def test_a_task_list_that_is_not_whole_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The push of a new ledger continues: the missing tasks may be of other orders."""
    async with place(tmp_path) as at:
        with list_tells(at.gs, lambda page: page | {"meta": {"total": 5}}):
            await at.push(orders(1), mode=Mode.TWO_PHASE)
        assert len(at.simulator.tasks()) == 1
    assert "the Task List is incomplete" in caplog.text


async def test_a_program_is_reported_of_a_damaged_register(tmp_path: Path, register: Path) -> None:
    """It cannot know whether another ledger has pushed, so it raises."""
    register.write_bytes(b"")
    async with (
        Simulator() as simulator,
        GotSurge("local", api_base=simulator.api_base, bearer_token="any") as gs,
        await Ledger.open(tmp_path / "a.db") as ledger,
    ):
        with pytest.raises(RegisterUnusable, match="is damaged"):
            await Push(gs, ledger).load_orders(orders(1))


def test_a_ledger_counts_once_however_its_account_is_known(tmp_path: Path) -> None:
    """By its key, by its name, by a token alone: the message of a refusal names one ledger, and no more ledgers."""
    register = Register(tmp_path / "register.db")
    for account in (Account("h:1", client="c"), Account("h:1", client="c", name="acme"), Account("h:1")):
        register.enter(account, "one", "/one.db", f"run of {account}", now=START)
    for ledger, more in (("two", ""), ("three", ", and 1 more ledger. ")):
        with pytest.raises(SecondLedger) as refused:
            register.enter(Account("h:1", client="c"), ledger, f"/{ledger}.db", "run", now=START)
        assert more in str(refused.value)
        assert ("more ledger" in str(refused.value)) is bool(more)
        register.enter(Account("h:1", client="c"), ledger, f"/{ledger}.db", "run", now=START, new_ledger=True)
