import os
from pathlib import Path

import pytest

from gotsurge_async.auth.sealing import (
    KEY_FILE_VARIABLE,
    KEYS_VARIABLE,
    Sealer,
    new_key,
    read_keys,
    read_private,
    write_keys,
    write_private,
)
from gotsurge_async.errors import ConfigError
from gotsurge_async.secrets import Secret

TEXT = b"planted-secret"


def test_what_is_sealed_opens_again() -> None:
    """What one sealer seals another one with the same key opens, and nobody reads it in between."""
    key = new_key()
    sealed = Sealer([key]).seal(TEXT)
    assert TEXT.decode() not in sealed
    assert Sealer([Secret(key)]).open(sealed) == TEXT


def test_keys_rotate() -> None:
    """A new key in front seals, an old one behind it still opens, and which one sealed is known."""
    old, new = new_key(), new_key()
    sealed = Sealer([old]).seal(TEXT)
    both = Sealer([new, old])
    assert both.open(sealed) == TEXT
    assert not both.is_newest(sealed)
    assert both.is_newest(both.seal(TEXT))
    assert Sealer([new]).open(both.seal(TEXT)) == TEXT


@pytest.mark.parametrize("sealed", ["", "x", "gAAAAAB", "\N{GREEK SMALL LETTER ALPHA}"])
def test_what_does_not_open_is_an_error(sealed: str) -> None:
    """A text that no key sealed, or that was changed, is an error without a secret."""
    sealer = Sealer([new_key()])
    with pytest.raises(ConfigError, match="none of the token keys fits"):
        sealer.open(sealed)
    changed = sealer.seal(TEXT)[:-4] + "AAA="
    with pytest.raises(ConfigError):
        sealer.open(changed)


@pytest.mark.parametrize("keys", [[], ["short"], ["x" * 44], [""]])
def test_a_key_that_is_none_is_refused(keys: list[str]) -> None:
    """No key, or one that is none, is refused at once; the message does not quote it."""
    with pytest.raises(ConfigError) as raised:
        Sealer(keys)
    assert not any(key and key in str(raised.value) for key in keys)


def test_keys_come_from_the_environment(tmp_path: Path) -> None:
    """Keys are taken from the variable, else from the file, else there is no sealer."""
    first, second = new_key(), new_key()
    path = tmp_path / "keys"
    write_keys(path, [Secret(second)])
    variables = {KEYS_VARIABLE: f"{first}, {second}", KEY_FILE_VARIABLE: str(path)}
    given = Sealer.from_env(variables)
    assert given is not None
    assert Sealer([first]).open(given.seal(TEXT)) == TEXT
    of_file = Sealer.from_env({KEY_FILE_VARIABLE: str(path)})
    assert of_file is not None
    assert Sealer([second]).open(of_file.seal(TEXT)) == TEXT
    assert Sealer.from_env({}) is None


def test_a_running_program_survives_a_rotation(tmp_path: Path) -> None:
    """A sealer of a file reads the file again when what another program sealed does not open."""
    path = tmp_path / "keys"
    old, new = new_key(), new_key()
    write_keys(path, [Secret(old)])
    running = Sealer.from_file(path)
    write_keys(path, [Secret(new), Secret(old)])
    assert running.open(Sealer.from_file(path).seal(TEXT)) == TEXT


def test_a_running_program_seals_with_the_newest_key(tmp_path: Path) -> None:
    """A sealer of a file seals with the key in front of it now: with the old one it might outlast that key."""
    path = tmp_path / "keys"
    old, new = new_key(), new_key()
    write_keys(path, [Secret(old)])
    running = Sealer.from_file(path)
    write_keys(path, [Secret(new), Secret(old)])
    assert Sealer([new]).open(running.seal(TEXT)) == TEXT
    path.chmod(0o644)
    write_keys(path.with_name("other"), [Secret(old)])
    assert Sealer([new]).open(running.seal(TEXT)) == TEXT  # a file that cannot be used stops nobody
    path.unlink()
    assert Sealer([new]).open(running.seal(TEXT)) == TEXT


def test_a_key_file_is_private(tmp_path: Path) -> None:
    """A key file is written for its owner alone, and refused when others may read it."""
    path = tmp_path / "folder" / "keys"
    write_keys(path, [Secret(new_key())])
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["keys"]
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_keys(path)


def test_a_file_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    """What cannot be read, is no text, or cannot be written is an error that names the file."""
    with pytest.raises(ConfigError, match=r"cannot read the file .*nothing"):
        read_private(tmp_path / "nothing", "the file")
    odd = tmp_path / "odd"
    odd.touch(mode=0o600)
    odd.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_private(odd, "the file")
    with pytest.raises(ConfigError, match="cannot write the file"):
        write_private(odd / "below", b"", "the file")
    assert os.listdir(tmp_path) == ["odd"]  # noqa: PTH208 - the whole folder, temporary files too


def test_a_sealer_shows_no_key() -> None:
    """Neither repr nor str of a sealer shows its keys."""
    key = new_key()
    assert key not in repr(Sealer([key])) + str(vars(Sealer([key])))
