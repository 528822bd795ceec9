"""The reference in docs/reference: every public name, command, option, variable, exit code and state is in it."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gotsurge_async.cli.app import COMMANDS, gotsurge
from gotsurge_async.cli.help.explain import EXIT_CODES
from gotsurge_async.cli.shared.exits import Exit
from gotsurge_async.cli.variables import OTHERS, VARIABLES
from gotsurge_async.ledger.states import OrderState, RunState
from gotsurge_async.models.tasks import TaskStatus
from gotsurge_async.simulator import SWITCHES
from gotsurge_async.tables.columns import all_columns
from tests.support.public import MODULES, PACKAGE

REFERENCE = PACKAGE.parent / "docs" / "reference"
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in sorted(REFERENCE.glob("*.md")))


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below one, with its full name."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for each in command.list_commands(context):
            inner = command.get_command(context, each)
            assert inner is not None
            yield from commands(inner, f"{name} {each}")


def directive(name: str) -> set[str]:
    """What the directives of a name are given, on all pages of the reference."""
    return set(re.findall(rf"^```{{{name}}} (.+)$", TEXT, re.MULTILINE))


# --- of the pages as they are written --------------------------------------------------------------------------------


def test_every_public_module_is_in_the_reference() -> None:
    """Each module that has public names is told on a page."""
    assert directive("public") == set(MODULES)


def test_every_name_of_the_front_door_is_in_the_reference() -> None:
    """Wherever a name of the package comes from, one page tells the names from there, and only one."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    told = [f"gotsurge_async.{part}" for of in re.findall(r"^:of: (.+)$", TEXT, re.MULTILINE) for part in of.split()]
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            assert len([home for home in told if str(node.module).startswith(home)]) == 1, node.module


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    """What a module declares as public exists in it, and a class or function of it has a docstring."""
    for module in MODULES:
        there = importlib.import_module(module)
        for name in there.__all__:
            thing = getattr(there, name)
            assert not (inspect.isclass(thing) or inspect.isroutine(thing)) or thing.__doc__, f"{module}.{name}"


def test_every_folder_of_commands_is_in_the_reference() -> None:
    """No command is on no page."""
    assert directive("commands") == set(COMMANDS)


def test_every_exit_code_has_its_meaning() -> None:
    """The table of the codes has all of them."""
    assert set(EXIT_CODES) == set(Exit)
    assert {"exit-codes", "environment", "order-states", "task-statuses", "summary", "columns"} <= directive("facts")


# --- of the pages as they are built ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def names(site: Path) -> dict[str, set[str]]:
    """Everything that a link can lead to, by its kind."""
    from sphinx.util.inventory import InventoryFile

    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    found: dict[str, set[str]] = {}
    for item in inventory.data.items():
        found.setdefault(item[0].partition(":")[0], set()).update(item[1])
        found[item[0]] = set(item[1])
    return found


def code_on(site: Path, page: str) -> set[str]:
    """What stands as code on a page of the reference."""
    text = (site / "reference" / f"{page}.html").read_text(encoding="utf-8")
    return {re.sub(r"<[^>]+>", "", each) for each in re.findall(r"<code[^>]*>(.*?)</code>", text, re.DOTALL)}


@pytest.mark.slow
def test_every_public_name_can_be_looked_up(names: dict[str, set[str]]) -> None:
    """Each public name, or the same thing under the name of a package above, is an entry of the site."""
    for module in MODULES:
        parts = module.split(".")
        above = [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
        for name in importlib.import_module(module).__all__:
            assert any(f"{front}.{name}" in names["py"] for front in above), f"{module}.{name}"


@pytest.mark.slow
def test_every_option_can_be_looked_up(names: dict[str, set[str]]) -> None:
    """Each option of each command is an entry of the site, that of the command or the one for many commands."""
    missing = [
        f"{name} {option}"
        for name, command in commands(gotsurge, "gotsurge")
        if name != "gotsurge"
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for option in parameter.opts
        if not {f"{name.replace(' ', '-')}.{option}", f"gotsurge.{option}"} & names["std:cmdoption"]
    ]
    assert not missing


@pytest.mark.slow
def test_every_command_has_a_heading(site: Path) -> None:
    """Each command is told on the page of its folder, by its full name."""
    for folder, inside in COMMANDS.items():
        text = (site / "reference" / f"command-{folder}.html").read_text(encoding="utf-8")
        for top in inside:
            command = gotsurge.get_command(click.Context(gotsurge), top)
            assert command is not None
            for name, _ in commands(command, f"gotsurge {top}"):
                assert f'id="{name.replace(" ", "-")}"' in text, name


@pytest.mark.slow
def test_every_exit_code_of_a_command_has_its_line(site: Path) -> None:
    """Codes that stand in columns in a command's help are items of a list, in their order."""
    text = (site / "reference" / "command-pushes.html").read_text(encoding="utf-8")
    listed = re.search(r"Exit codes:</p>\s*<ul.*?</ul>", text, re.DOTALL)
    assert listed
    assert re.findall(r"<li><p><code[^>]*><span[^>]*>(\d+)<", listed[0])[:10] == [str(code) for code in range(10)]
    assert "line-block" not in text


@pytest.mark.slow
def test_every_variable_can_be_looked_up(names: dict[str, set[str]]) -> None:
    """Each environment variable is an entry of the site."""
    assert {*VARIABLES, *OTHERS} <= names["std:envvar"]


@pytest.mark.slow
def test_every_code_state_column_and_switch_is_on_its_page(site: Path) -> None:
    """Exit codes, states, statuses, columns and switches stand in the tables that are made of them."""
    assert {str(int(code)) for code in Exit} <= code_on(site, "exit-codes")
    states = {state.value for state in OrderState} | {state.value for state in RunState}
    assert states | {status.value for status in TaskStatus.__members__.values()} <= code_on(site, "states")
    assert {column.name for column in all_columns()} <= code_on(site, "files")
    assert set(SWITCHES) <= code_on(site, "simulator")
