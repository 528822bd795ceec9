import asyncio
import logging
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from gotsurge_async.auth.sealing import Sealer, new_key
from gotsurge_async.auth.sql import SqlStore
from gotsurge_async.errors import ConfigError
from tests.auth.kit import tokens

OLD, NEW = new_key(), new_key()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'folder' / 'tokens.db'}"
        return
    where = request.getfixturevalue("server")
    yield where
    store = SqlStore(where, None)
    for account in await store.accounts():
        await store.delete(account)
    await store.close()


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    store = SqlStore(url, Sealer([OLD]))
    yield store
    await store.close()


async def test_of_many_replacements_one_counts(url: str, store: SqlStore) -> None:
    """Of many that replace the same tokens at once, on connections of their own, exactly one does."""
    await store.save("a", tokens())
    others = [SqlStore(url, Sealer([OLD])) for _ in range(4)]
    done = await asyncio.gather(*(each.replace("a", tokens(), tokens(n + 1)) for n, each in enumerate(others)))
    assert sorted(done) == [False, False, False, True]
    assert await store.load("a") == tokens(done.index(True) + 1)
    for each in others:
        await each.close()


async def test_many_can_be_the_first(url: str) -> None:
    """Many that begin at once, on a database without tables, all find them made."""
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("DROP TABLE IF EXISTS gotsurge_tokens, gotsurge_leases")
    stores = [SqlStore(url, None) for _ in range(16)]
    await asyncio.gather(*(store.save(str(n), tokens(n)) for n, store in enumerate(stores)))
    assert len(await stores[0].accounts()) == 16
    for store in stores:
        await store.close()


async def test_keys_rotate(url: str, store: SqlStore) -> None:
    """Sealing anew takes the newest key, what is in clear included; then the old key is not needed any more."""
    await store.save("a", tokens())
    clear = SqlStore(url, None)
    await clear.save("b", tokens(1))
    with pytest.raises(ConfigError, match="encrypted"):
        await clear.load("a")
    with pytest.raises(ConfigError, match="keys"):
        await clear.reseal()
    await clear.close()
    both = SqlStore(url, Sealer([NEW, OLD]))
    assert (await both.reseal(), await both.reseal()) == (2, 0)
    await both.close()
    newest = SqlStore(url, Sealer([NEW]))
    assert (await newest.load("a"), await newest.load("b")) == (tokens(), tokens(1))
    await newest.close()
    with pytest.raises(ConfigError, match="none of the token keys fits"):
        await store.load("a")


async def test_a_dump_shows_no_token(store: SqlStore, tmp_path: Path) -> None:
    """With a sealer nothing of the tokens is in the database in clear."""
    await store.save("a", tokens())
    for file in (tmp_path / "folder").glob("*") if (tmp_path / "folder").exists() else ():
        assert b"planted" not in file.read_bytes()
    ((dumped,),) = await store.rows("record", account="a")
    assert "sealed" in dumped
    assert "planted" not in dumped


async def test_no_log_shows_a_token(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """At the lowest level of all loggers no token is logged, neither going in nor coming out, even kept in clear."""
    caplog.set_level(logging.DEBUG)
    for name in ("asyncio", "psycopg"):
        caplog.set_level(logging.DEBUG, name)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0  # each step is logged, with what it is given
    store = SqlStore(url, None)
    await store.save("a", tokens())
    assert await store.replace("a", tokens(), tokens(1))
    assert await store.load("a") == tokens(1)
    assert await store.accounts()
    await store.close()
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert "Future finis" in logged
    assert "planted" not in logged


async def test_a_cancelled_save_is_whole(store: SqlStore) -> None:
    """Who is cancelled while it saves has saved, or not; the store works on."""
    await store.save("a", tokens())
    saving = asyncio.create_task(store.save("a", tokens(1)))
    await asyncio.sleep(0)
    saving.cancel()
    await asyncio.wait([saving])
    assert await store.load("a") in (tokens(), tokens(1))


async def test_a_sqlite_file_is_private(tmp_path: Path) -> None:
    """A SQLite file is made for its owner alone, and so is its folder."""
    store = SqlStore(f"sqlite:///{tmp_path / 'folder' / 'tokens.db'}", None)
    await store.save("a", tokens())
    await store.close()
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in (tmp_path / "folder").iterdir())


@pytest.mark.parametrize("form", ["sqlite:///{}", "sqlite+aiosqlite:///{}"])
async def test_a_driver_in_a_url_is_passed_over(form: str, tmp_path: Path) -> None:
    """URLs of earlier versions, which name a driver, lead to the same tokens."""
    other = SqlStore(f"sqlite:///{tmp_path / 'tokens.db'}", None)
    await other.save("a", tokens())
    await other.close()
    store = SqlStore(form.format(tmp_path / "tokens.db"), None)
    assert await store.load("a") == tokens()
    await store.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "cannot be read"),
        ("mysql+aiomysql://root:planted-password@h/d", "mysql is not supported"),
        ("sqlite+aiosqlite://", "name a file"),
        ("sqlite+aiosqlite:////proc/nothing/tokens.db", "cannot make"),
        ("postgresql://root:planted-password@h:port/d", "cannot be read"),
        ("postgresql://root:100%planted@h/d", "cannot be read"),
        ("postgresql://root:p@planted@h/d", "cannot be read"),
        ("postgresql://root:1/planted@h/d", "cannot be read"),
        ("postgresql://root:1#planted@h/d", "cannot be read"),
        ("postgresql://root@h/d?planted=1", "cannot be read"),
    ],
)
def test_a_database_that_cannot_be_is_refused(url: str, said: str) -> None:
    """A URL that cannot be used is refused at once, and its password is not shown."""
    with pytest.raises(ConfigError, match=said) as raised:
        SqlStore(url, None)
    assert "planted" not in "".join(traceback.format_exception(raised.value))


def test_a_missing_driver_is_named() -> None:
    """Without psycopg the module can be imported and SQLite be used; PostgreSQL is refused with the extra's name."""
    code = (
        "import sys; import gotsurge_async.auth.sql as sql; assert 'psycopg' not in sys.modules\n"
        "sys.modules['psycopg'] = None\n"
        "try: sql.SqlStore('postgresql+psycopg://h/d', None)\n"
        "except sql.ConfigError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "gotsurge-async[postgresql]" in ran.stdout


@pytest.mark.slow
async def test_a_dead_connection_is_replaced(server: str) -> None:
    """When the server has ended the connection of a store, as a restart does, the next statement gets a new one."""
    store, other = SqlStore(server, None), SqlStore(server, None)
    await store.save("a", tokens())
    await other.save("b", tokens())
    with psycopg.connect(server, autocommit=True) as admin:
        ended = admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        )
        assert ended.fetchall() == [(True,), (True,)]
    assert await store.load("a") == tokens()
    assert await other.replace("b", tokens(), tokens(1))
    await store.close()
    await other.close()


async def test_a_broken_database_is_an_error(tmp_path: Path) -> None:
    """A file that is no database, a record that is none and a server that is not there are errors of ours."""
    path = tmp_path / "tokens.db"
    path.write_bytes(b"no database" * 200)
    store = SqlStore(f"sqlite:///{path}", None)
    with pytest.raises(ConfigError, match="cannot be used: file is not a database"):
        await store.load("a")
    await store.close()
    path.unlink()
    store = SqlStore(f"sqlite:///{path}", None)
    await store.save("a", tokens())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE gotsurge_tokens SET record = '{'")
    connection.close()
    with pytest.raises(ConfigError, match="damaged"):
        await store.load("a")
    await store.close()
    store = SqlStore("postgresql+psycopg://root:planted-password@127.0.0.1:1/d", None)
    with pytest.raises(ConfigError, match="cannot be used") as raised:
        await store.load("a")
    assert "planted" not in str(raised.value)
    await store.close()


async def test_an_endless_write_is_reported_and_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process keeps SQLite locked, as one frozen in a write does, callers get the reason."""
    monkeypatch.setattr("gotsurge_async.database.thread.PATIENCE", 0.1)
    path = tmp_path / "tokens.db"
    store = SqlStore(f"sqlite:///{path}", None)
    await store.save("acme", tokens())
    frozen = sqlite3.connect(path, isolation_level=None)
    frozen.execute("BEGIN EXCLUSIVE")
    failed = await asyncio.gather(*(store.load("acme") for _ in range(50)), return_exceptions=True)
    assert isinstance(failed[0], ConfigError)
    assert "locked: another process is writing, or was frozen while it wrote" in str(failed[0])
    assert all(isinstance(error, ConfigError) for error in failed)
    assert sum("the database was busy for more than" in str(error) for error in failed) > 40
    frozen.execute("ROLLBACK")
    frozen.close()
    assert await store.load("acme") == tokens()
    await store.close()
