"""Encryption at rest, and files that only their owner may read.

Encryption is Fernet (AES-128-CBC with HMAC-SHA256) with any number of keys: the first one encrypts, all of them
decrypt. To change a key, put a new one in front, seal everything again, and remove the old one. The keys come from the
environment or from a file elsewhere, never from where the tokens are.
"""

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from gotsurge_async.errors import ConfigError
from gotsurge_async.secrets import Secret
from gotsurge_async.system import files

__all__ = ["Sealer", "new_key"]

KEYS_VARIABLE = "GOTSURGE_TOKEN_KEYS"
KEY_FILE_VARIABLE = "GOTSURGE_TOKEN_KEY_FILE"


class Sealer:
    """Encrypts stored data.

    Args:
        keys: Fernet keys (32 bytes in URL-safe base64), the newest first.

    Raises:
        ConfigError: no key, an invalid key, or the package ``cryptography`` is missing.
    """

    def __init__(self, keys: Iterable[str | Secret]) -> None:
        self._path: Path | None = None
        self._version: tuple[int, ...] | None = None  # of the key file that was read
        self._take(keys)

    def _take(self, keys: Iterable[str | Secret]) -> None:
        try:
            from cryptography.fernet import Fernet, MultiFernet
        except ModuleNotFoundError:
            why = 'encrypting tokens needs an extra: pip install "gotsurge-async[encryption]"'
            raise ConfigError(why, "E108") from None
        try:
            fernets = [Fernet(key.reveal() if isinstance(key, Secret) else key) for key in keys]
        except (ValueError, TypeError):
            why = "a token key must be 32 bytes in URL-safe base64: `new_key()` makes one"
            raise ConfigError(why, "E305") from None
        if not fernets:
            raise ConfigError(f"to encrypt tokens, a key is needed: set {KEYS_VARIABLE} or {KEY_FILE_VARIABLE}", "E305")
        self._fernet = MultiFernet(fernets)
        self._newest = fernets[0]

    @classmethod
    def from_env(cls, variables: Mapping[str, str] | None = None) -> Self | None:
        """A sealer with the keys of GOTSURGE_TOKEN_KEYS (commas between them, the newest first), else of the file that
        GOTSURGE_TOKEN_KEY_FILE names; None when neither is set.

        Raises:
            ConfigError: as above, or the file cannot be read or may be read by others.
        """
        env = os.environ if variables is None else variables
        if env.get(KEYS_VARIABLE):
            return cls(key.strip() for key in env[KEYS_VARIABLE].split(",") if key.strip())
        return cls.from_file(env[KEY_FILE_VARIABLE]) if env.get(KEY_FILE_VARIABLE) else None

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """A sealer with the keys of a file. A rotation needs no restart: the file is read again before sealing when it
        has changed, and before opening when no key fits.
        """
        version = _version(Path(path))
        sealer = cls(read_keys(path))
        sealer._path, sealer._version = Path(path), version
        return sealer

    def seal(self, content: bytes) -> str:
        """Encrypt with the newest key."""
        version = None if self._path is None else _version(self._path)
        if self._path is not None and version is not None and version != self._version:
            # A record that is sealed with an old key may outlast that key; but the known keys open what they seal.
            with contextlib.suppress(ConfigError):
                self._take(read_keys(self._path))
                self._version = version
        return self._fernet.encrypt(content).decode("ascii")

    def open(self, sealed: str) -> bytes:
        """Decrypt with whichever key fits.

        Raises:
            ConfigError: no key fits, or the text was changed.
        """
        from cryptography.fernet import InvalidToken

        with contextlib.suppress(InvalidToken, ValueError):
            return self._fernet.decrypt(sealed)
        if self._path is not None:
            self._take(read_keys(self._path))
            with contextlib.suppress(InvalidToken, ValueError):
                return self._fernet.decrypt(sealed)
        raise ConfigError("the stored tokens cannot be decrypted: none of the token keys fits", "E305")

    def is_newest(self, sealed: str) -> bool:
        """Whether a text was encrypted with the newest key."""
        from cryptography.fernet import InvalidToken

        try:
            self._newest.decrypt(sealed)
        except (InvalidToken, ValueError):
            return False
        return True

    def __repr__(self) -> str:
        return "Sealer(***)"


def new_key() -> str:
    """A new random key."""
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode("ascii")


def read_keys(path: str | Path) -> list[Secret]:
    """The keys of a file, one in a line, the newest first; ConfigError if it cannot be read, or others may read it."""
    return [Secret(line) for line in read_private(Path(path), "the key file").split() if line]


def write_keys(path: str | Path, keys: Iterable[Secret]) -> None:
    """Write a key file (mode 0600, replaced as a whole)."""
    write_private(Path(path), "".join(f"{key.reveal()}\n" for key in keys).encode(), "the key file")


def _version(path: Path) -> tuple[int, ...] | None:
    """Numbers that change when a file is replaced; None if there is no file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def read_private(path: Path, what: str) -> str:
    """The text of a file that only its owner may read; ConfigError if others may, or it cannot be read as text."""
    content = read_private_bytes(path, what)
    if content is None:
        raise ConfigError(f"cannot read {what} {path}: there is no such file", "E307")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{what} {path} is not UTF-8 text", "E307") from None


def read_private_bytes(path: Path, what: str) -> bytes | None:
    """The bytes of a file that only its owner may read, None without one; ConfigError if others may, or on failure."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot read {what} {path}: {error.strerror or error}", "E307") from None
    if os.name == "posix" and mode & 0o077:
        raise ConfigError(f"{what} {path} contains secrets, but other users can read it: chmod 600 {path}", "E307")
    return content


def write_private(path: Path, content: bytes, what: str) -> None:
    """Replace a file as a whole, durable on return, mode 0600; makes its folder (mode 0700) when it is missing.

    A symbolic link stays, and its target is replaced. Raises ConfigError if the file cannot be written.
    """
    import tempfile  # here: it loads much, and only token files need it

    temporary = None
    path = Path(os.path.realpath(path))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp makes the file with mode 0600, in the same folder so that the replacement is atomic.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            files.sync(file.fileno())
        files.replace(Path(temporary), path)
        files.sync_folder(path.parent)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink(missing_ok=True)
        raise ConfigError(f"cannot write {what} {path}: {error.strerror or error}", "E109") from None
