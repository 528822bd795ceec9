"""The group of commands: each is there, and loaded alone."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gotsurge_async.cli import main
from gotsurge_async.cli.app import FOLDER_OF, gotsurge, load
from gotsurge_async.simulator import Simulator
from tests.support.commands import environment, local, write_orders
from tests.test_house import MODULES, imports, own

_LOADED = """
import sys
from gotsurge_async.cli import main
from gotsurge_async.cli.app import gotsurge
gotsurge(sys.argv[1:], standalone_mode=False)
print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize("name", FOLDER_OF)
def test_a_command_has_the_name_that_it_is_found_by(name: str) -> None:
    """Each name leads to the file that has the command."""
    assert load(name).name == name


def test_a_push_loads_what_a_push_needs(simulator: Simulator, tmp_path: Path) -> None:
    """No other command, no web server, no classes of whole tasks, and nothing that draws on a terminal."""
    write_orders(tmp_path / "orders.csv", range(3))
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, "push", "orders.csv", *local(simulator), "--quiet"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
    )
    assert simulator.audit()["tasks"] == 3
    loaded = set(done.stderr.split())
    assert {"gotsurge_async.cli.pushes.push", "filelock", "aiohttp"} <= loaded
    ours = {"gotsurge_async.cli.service", "gotsurge_async.simulator", "gotsurge_async.models.answers"}
    assert loaded.isdisjoint(ours | {"aiohttp.web", "rich", "sqlalchemy", "psycopg"})


def test_the_help_names_every_command_and_loads_none() -> None:
    """It waits for no library but the one of the command line."""
    done = subprocess.run([sys.executable, "-c", _LOADED, "--help"], check=True, capture_output=True, text=True)
    assert all(f"\n  {name} " in done.stdout for name in FOLDER_OF)
    loaded = set(done.stderr.split())
    assert loaded.isdisjoint({"gotsurge_async.cli.pushes", "gotsurge_async.cli.service", "gotsurge_async.bulk", "rich"})


def test_no_file_of_the_command_imports_itself_in_a_circle() -> None:
    """Imports inside functions count, too; those of `shared` lead to no folder of commands."""
    files = {name for name in MODULES if name.startswith("cli.")}
    needs = {name: {own(imported) or "" for imported in imports(name)} & files - {name} for name in files}
    shared = set[str]().union(*(needs[name] for name in files if name.startswith("cli.shared.")))
    assert {name for name in shared if not name.startswith("cli.shared")} == {"cli.streams"}
    while leaves := {name for name, others in needs.items() if not others}:
        needs = {name: others - leaves for name, others in needs.items() if name not in leaves}
    assert not needs


@pytest.mark.parametrize("word", ["none", "app", "shared"])
def test_what_is_no_command_is_wrong_usage(word: str) -> None:
    """Also the name of a file that has none."""
    done = CliRunner().invoke(gotsurge, [word])
    assert (done.exit_code, f"No such command '{word}'" in done.stderr) == (2, True)


def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is done, also where the command would come to it late or never."""
    monkeypatch.setattr("gotsurge_async.cli.find_spec", lambda name: None if name == "rich" else object())
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == 'gotsurge needs rich: pip install "gotsurge-async[cli]"\n'
