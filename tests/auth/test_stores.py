"""Tokens in every kind of store, and what is particular to a file."""

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gotsurge_async.auth.keychain import KeyringStore
from gotsurge_async.auth.sealing import Sealer, new_key
from gotsurge_async.auth.sql import SqlStore
from gotsurge_async.auth.stores import FileStore, MemoryStore, Tokens, TokenStore, from_record, same_pair, to_record
from gotsurge_async.errors import ConfigError
from gotsurge_async.secrets import Secret
from tests.auth.kit import Ring
from tests.support.orders import NOW
from tests.support.strategies import json_values

PLANTED = "planted-bearer"


def tokens(name: str = PLANTED, refresh: str | None = "planted-refresh", **changes: Any) -> Tokens:
    """Tokens with a name of their own."""
    return Tokens(bearer=Secret(name), refresh=refresh, issued_at=NOW, expires_at=NOW + timedelta(days=30), **changes)


@pytest.fixture(params=["memory", "file", "keyring", "sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TokenStore]:
    """A store without tokens."""
    if request.param in ("sqlite", "postgresql"):
        sqlite = f"sqlite:///{tmp_path / 'tokens.db'}"
        store = SqlStore(request.getfixturevalue("server") if request.param == "postgresql" else sqlite, None)
        yield store
        for account in await store.accounts():
            await store.delete(account)
        await store.close()
    elif request.param == "file":
        yield FileStore(tmp_path / "tokens" / "tokens.json")
    elif request.param == "keyring":
        yield KeyringStore(tmp_path / "locks", backend=Ring())
    else:
        yield MemoryStore()


@pytest.fixture
def file_store(tmp_path: Path) -> FileStore:
    """A store in a file that does not exist yet."""
    return FileStore(tmp_path / "tokens.json")


async def test_each_account_has_its_tokens(store: TokenStore) -> None:
    """What is saved under a name is loaded under it, until it is deleted; the others stay."""
    assert await store.load("a") is None
    await store.save("a", tokens("first"))
    await store.save("b", tokens("bearer-b", refresh=None, refused_at=NOW))
    await store.save("a", tokens("bearer-a"))
    assert await store.load("a") == tokens("bearer-a")
    assert await store.load("b") == tokens("bearer-b", refresh=None, refused_at=NOW)
    assert await store.accounts() == ["a", "b"]
    await store.delete("a")
    await store.delete("a")
    assert await store.load("a") is None
    assert await store.load("b") == tokens("bearer-b", refresh=None, refused_at=NOW)


async def test_tokens_are_replaced_only_in_place_of_those_they_were_made_from(store: TokenStore) -> None:
    """`replace` keeps the new ones if the old ones are still there, and says whether it did."""
    await store.save("a", tokens("one"))
    assert await store.replace("a", tokens("one"), tokens("two"))
    assert not await store.replace("a", tokens("one"), tokens("three"))
    assert not await store.replace("a", tokens("two", refresh="other"), tokens("three"))
    assert not await store.replace("nobody", tokens("one"), tokens("three"))
    assert await store.load("a") == tokens("two")
    assert await store.load("nobody") is None


async def test_the_lock_excludes_the_others(store: TokenStore) -> None:
    """Of many that want to renew one account, one at a time holds its lock; another account is not held up."""
    inside = most = 0

    async def renew() -> None:
        nonlocal inside, most
        async with store.lock("a"):
            inside += 1
            most = max(most, inside)
            async with store.lock("b"):
                await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(renew() for _ in range(4)))
    assert most == 1


# --- the file ---------------------------------------------------------------------------------------------------------


async def test_only_the_owner_reads_the_file(tmp_path: Path) -> None:
    """The file has mode 0600 and a folder made for it 0700, also where everything else is open to all."""
    before = os.umask(0)
    try:
        store = FileStore(tmp_path / "new" / "tokens.json")
        await store.save("a", tokens())
        await store.save("b", tokens())
    finally:
        os.umask(before)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    assert [path.name for path in store.path.parent.iterdir()] == ["tokens.json"]


async def test_the_file_is_replaced_as_a_whole(file_store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails leaves the file as it was, no half of a file beside it, and an error that says why."""
    await file_store.save("a", tokens("one"))
    before = file_store.path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ConfigError, match="No space left on device") as caught:
            await file_store.save("a", tokens("two"))
    assert str(file_store.path) in str(caught.value)
    assert file_store.path.read_bytes() == before
    assert [path.name for path in file_store.path.parent.iterdir()] == ["tokens.json"]
    await file_store.save("a", tokens("three"))
    assert await file_store.load("a") == tokens("three")


async def test_what_was_saved_outlives_a_power_failure(file_store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """On return the new file and its name in the folder have been forced to the disk, in this order."""
    forced: list[str] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        real(descriptor)
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        forced.append(f"{kind}, {'there' if file_store.path.exists() else 'not yet there'}")

    monkeypatch.setattr(os, "fsync", note)
    await file_store.save("a", tokens())
    assert forced == ["file, not yet there", "folder, there"]


async def test_two_stores_on_one_file_lose_nothing(file_store: FileStore) -> None:
    """Accounts saved at the same time through several stores on one file are all in it."""
    stores = [FileStore(file_store.path) for _ in range(3)]
    await asyncio.gather(*(store.save(f"a{number}", tokens()) for number, store in enumerate(stores)))
    assert await file_store.accounts() == ["a0", "a1", "a2"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"a": 5}',
        b'{"a": {}}',
        b'{"a": []}',
        (
            b'{"a": {"bearer_token": 5, "refresh_token": null, "issued_at": "2026-01-01T00:00:00+00:00", '
            b'"expires_at": "2026-01-01T00:00:00+00:00"}}'
        ),
        (
            b'{"a": {"bearer_token": "b", "refresh_token": 5, "issued_at": "2026-01-01T00:00:00+00:00", '
            b'"expires_at": "2026-01-01T00:00:00+00:00"}}'
        ),
        (
            b'{"a": {"bearer_token": "b", "refresh_token": null, "issued_at": "2026-01-01T00:00:00", '
            b'"expires_at": "2026-01-01T00:00:00"}}'
        ),
        b'{"a": {"bearer_token": "b", "refresh_token": null, "issued_at": "soon", "expires_at": "later"}}',
    ],
)
async def test_a_damaged_file_is_an_error_that_names_it(file_store: FileStore, content: bytes) -> None:
    """What this class did not write is a ConfigError with the path of the file, and none of its content."""
    file_store.path.touch(mode=0o600)
    file_store.path.write_bytes(content)
    with pytest.raises(ConfigError, match="damaged: remove ") as caught:
        await file_store.load("a")
    assert str(file_store.path) in str(caught.value)


async def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A folder in the place of the file, or a file in the place of its folder, is a ConfigError with the reason."""
    with pytest.raises(ConfigError, match=f"cannot read the token file {tmp_path}: Is a directory"):
        await FileStore(tmp_path).load("a")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot lock the token file"):
        await FileStore(tmp_path / "file" / "tokens.json").save("a", tokens())


async def test_a_damaged_account_is_named(file_store: FileStore) -> None:
    """The error for an account that cannot be read names it, and leaves the others readable."""
    await file_store.save("a", tokens("bearer-a"))
    content = msgspec.json.decode(file_store.path.read_bytes())
    file_store.path.write_bytes(msgspec.json.encode({**content, "acme": {"bearer_token": 5}}))
    with pytest.raises(ConfigError, match=r"account acme in the token file .*: the stored tokens are damaged"):
        await file_store.load("acme")
    assert await file_store.load("a") == tokens("bearer-a")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
async def test_a_file_that_others_may_use_is_refused(file_store: FileStore, mode: int) -> None:
    """A token file with a wider mode than 0600 is neither read nor written, and the error says what to do."""
    await file_store.save("a", tokens())
    file_store.path.chmod(mode)
    for attempt in (file_store.load("a"), file_store.save("a", tokens("two")), file_store.accounts()):
        with pytest.raises(ConfigError, match=f"other users can read it: chmod 600 {file_store.path}"):
            await attempt
    file_store.path.chmod(0o600)
    assert await file_store.load("a") == tokens()


async def test_a_symbolic_link_stays_one(file_store: FileStore, tmp_path: Path) -> None:
    """A token file that is a link is written where the link leads, and both names share one lock."""
    real = tmp_path / "elsewhere" / "real.json"
    file_store.path.symlink_to(real)
    await file_store.save("a", tokens())
    await file_store.save("a", tokens("two"))
    assert file_store.path.is_symlink()
    assert await FileStore(real).load("a") == tokens("two")
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    async with file_store.lock("a"):
        (lease,) = [path for path in real.parent.iterdir() if path != real]
        assert lease.name.startswith("real.json.")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "tokens.json"]


async def test_a_sealed_record_is_that_of_its_account(tmp_path: Path) -> None:
    """One that stands in another's place is refused; what an earlier version sealed without a name is read."""
    path, sealer = tmp_path / "tokens.json", Sealer([new_key()])
    store = FileStore(path, sealer=sealer)
    for account in ("a", "b"):
        await store.save(account, tokens(account))
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({"a": kept["b"], "b": kept["b"]}))
    with pytest.raises(ConfigError, match=r"account a in the token file .* were issued to another account"):
        await store.load("a")
    assert await store.load("b") == tokens("b")
    nameless = to_record(tokens("c"), None, "c").encode()
    path.write_text(json.dumps({"c": {"sealed": sealer.seal(nameless)}}))
    assert await store.load("c") == tokens("c")


async def test_an_account_may_have_a_long_name(store: TokenStore) -> None:
    """Accounts with names of hundreds of characters are kept and locked like others, each for itself."""
    one, other = "\N{LATIN SMALL LETTER E WITH ACUTE}" * 400, "a" * 400
    for name in (one, other):
        await store.save(name, tokens(name))
    async with store.lock(one), store.lock(other):
        assert await store.replace(one, tokens(one), tokens("new"))
    assert (await store.load(one), await store.load(other)) == (tokens("new"), tokens(other))


async def test_tokens_that_are_sealed_again_meanwhile_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is rotated between the reading and the writing of `replace` costs no tokens: the pair is the same."""
    path, key = tmp_path / "tokens.json", new_key()
    both = Sealer([new_key(), key])
    store, rotated = FileStore(path, sealer=both), FileStore(path, sealer=both)
    await FileStore(path, sealer=Sealer([key])).save("a", tokens("one"))
    read = store._read

    async def read_before_a_rotation(account: str) -> str | None:
        record = await read(account)
        monkeypatch.setattr(store, "_read", read)
        await rotated.reseal()
        return record

    monkeypatch.setattr(store, "_read", read_before_a_rotation)
    assert await store.replace("a", tokens("one"), tokens("two"))
    assert await rotated.load("a") == tokens("two")


# --- records ----------------------------------------------------------------------------------------------------------

instants = st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
any_tokens = st.builds(
    Tokens,
    bearer=st.text(st.characters(exclude_categories=["Cs"])).map(Secret),
    refresh=st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    issued_at=instants,
    expires_at=instants,
    refused_at=st.none() | instants,
)


@given(any_tokens)
def test_a_record_keeps_everything(kept: Tokens) -> None:
    """Tokens are the same after they were written as JSON and read."""
    assert from_record(to_record(kept, None, "a"), None, "a", "here") == kept


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(any_tokens, st.data())
def test_any_record_gives_tokens_or_our_error(kept: Tokens, data: st.DataObject) -> None:
    """Whatever stands in the place of tokens is refused, or gives tokens of text and aware times."""
    record: Any = msgspec.json.decode(to_record(kept, None, "a"))
    if data.draw(st.booleans()):
        record[data.draw(st.sampled_from(sorted(record)))] = data.draw(json_values)
    else:
        record = data.draw(json_values)
    try:
        read = from_record(msgspec.json.encode(record).decode(), None, "a", "here")
    except ConfigError:
        return
    assert isinstance(read.bearer.reveal(), str)
    assert read.refresh is None or isinstance(read.refresh.reveal(), str)
    times = [read.issued_at, read.expires_at, read.refused_at or NOW]
    assert all(moment.utcoffset() == timedelta(0) for moment in times)


@given(any_tokens, any_tokens)
def test_a_pair_is_known_by_its_secrets(one: Tokens, other: Tokens) -> None:
    """Two tokens are the same pair if bearer and refresh token are equal, whatever their times."""
    assert same_pair(one, one)
    assert same_pair(None, None)
    assert not same_pair(one, None)
    assert same_pair(one, other) == (one.bearer == other.bearer and one.refresh == other.refresh)
