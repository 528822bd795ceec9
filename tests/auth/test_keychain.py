from pathlib import Path

import pytest
from attrs import evolve

from gotsurge_async.auth.keychain import KeyringStore
from gotsurge_async.errors import ConfigError
from gotsurge_async.secrets import Secret
from tests.auth.kit import Ring, tokens


class LockedRing(Ring):
    """A keyring that nobody has unlocked."""

    def get_password(self, service: str, username: str, /) -> str | None:
        raise RuntimeError("planted: locked")


async def test_nothing_is_left_of_deleted_accounts(tmp_path: Path) -> None:
    """After the last account is deleted only an empty list of names is in the keyring, and no file in the folder."""
    ring = Ring()
    store = KeyringStore(tmp_path / "locks", backend=ring)
    for account in ("b", "a"):
        await store.save(account, tokens())
    for account in ("a", "b", "c"):
        await store.delete(account)
    assert (await store.accounts(), await store.load("a"), len(ring)) == ([], None, 1)
    assert list(tmp_path.iterdir()) == []


class ShortRing(Ring):
    """A keyring that keeps 1,280 characters, and of more says nothing, or cuts them off."""

    def __init__(self, *, cuts: bool) -> None:
        super().__init__()
        self.cuts = cuts

    def set_password(self, service: str, username: str, password: str, /) -> None:
        if len(password) > 1280 and not self.cuts:
            raise OSError("planted: stub received bad data")
        super().set_password(service, username, password[:1280])


@pytest.mark.parametrize("cuts", [True, False], ids=["cuts", "refuses"])
async def test_tokens_that_are_too_long_are_found_when_they_are_saved(tmp_path: Path, cuts: bool) -> None:
    """The error says how long they are and where else they can be kept; shorter ones are kept."""
    store = KeyringStore(tmp_path / "locks", backend=ShortRing(cuts=cuts))
    await store.save("a", tokens())
    with pytest.raises(
        ConfigError, match=r"these tokens \(2,\d+ characters\) are too long for the keyring: keep them in"
    ):
        await store.save("a", evolve(tokens(), bearer=Secret("x" * 2000)))


async def test_the_lock_is_a_lease(tmp_path: Path) -> None:
    """The lock stands in the folder while it is held."""
    store = KeyringStore(tmp_path / "locks", backend=Ring())
    async with store.lock("a"):
        assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir())


async def test_a_keyring_that_fails_is_reported(tmp_path: Path) -> None:
    """An error of the keyring becomes ours, without what the keyring said."""
    with pytest.raises(ConfigError, match=r"cannot be used \(RuntimeError\)") as raised:
        await KeyringStore(tmp_path / "locks", backend=LockedRing()).load("a")
    assert "planted" not in str(raised.value)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot lock"):
        await KeyringStore(tmp_path / "file" / "locks", backend=Ring()).save("a", tokens())


async def test_a_damaged_record_is_reported(tmp_path: Path) -> None:
    """An entry that somebody else has written is an error that says what to do."""
    ring = Ring()
    ring["gotsurge", "account a"] = "{"
    with pytest.raises(ConfigError, match="damaged"):
        await KeyringStore(tmp_path / "locks", backend=ring).load("a")


async def test_the_systems_keyring_is_found(tmp_path: Path) -> None:
    """Without a backend the system's own is taken; where there is none the error says so."""
    store = KeyringStore(tmp_path / "locks", service="gotsurge-tests-nobody")
    try:
        assert await store.load("nobody") is None
    except ConfigError as error:
        assert "keep tokens in a file" in str(error)  # noqa: PT017 - either is right, as the machine is
