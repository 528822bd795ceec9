"""How the package is built: floors, sizes, public names, and what an import costs."""

import ast
import asyncio
import re
import subprocess
import sys
import threading
import typing
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest

import gotsurge_async
from gotsurge_async import GotSurge, bulk
from gotsurge_async.bulk import Ledger, Mode, Push, SourceOptions, open_source, write_results
from gotsurge_async.models.base import Model
from gotsurge_async.money import Money
from gotsurge_async.testing import simulated
from tests.support.order_forms import CELLS, NOW
from tests.support.orders import orders
from tests.support.public import hints_of, public_calls

PACKAGE = Path(gotsurge_async.__file__).parent
OF_TIME = {"clock", "hooks", "starting"}
PLAIN_LIBRARIES = {"attrs", "attr", "cattrs", "msgspec", "phonenumbers"}
NOT_PLAIN = {"asyncio", "logging", "socket", "ssl", "threading", "subprocess", "time"}
MOST_LINES = 480
MOST_FILES = 12
MOST_FILES_OF_AN_ORDER = 65
MOST_LINES_OF_THE_QUEUE = 299
KNOWN_TO_THE_QUEUE = {
    *("ledger", "ledger.segments", "ledger.sql.store", "push.worker"),
    *("clock", "database"),
}

CALLS = ("gotsurge_async.client", "gotsurge_async.resources")
PUBLIC_NAMES = """
    Address BadRequest BroadcastPreference CallError CargoDetail ConfigError Conflict Contact Created CreatedTasks
    Credentials Driver Environment FileStore Finding Forbidden GotSurge GotSurgeError InDoubt InvalidData Item Limits
    Listing MemoryStore Message Money NotFound NotSent NotUpdated OAuth Order OrderResult Organization OrganizationPage
    OutcomeUnknown PageMeta PartnerDetail PayloadTooLarge PriceStep PriceVehicle Problem Profile PushStream Quote
    RateLimited Receipt Refused Rejected Response RetryPolicy Role Sealer Secret ServiceType Severity SignInFailed
    SignInNeeded SignatureForm SignedIn StatusEntry Stop Task TaskChanges TaskPage TaskStatus TimeWindow Timeouts
    TokenStore Tokens TooLateToCancel Unauthorized Unprocessed UnreadableAnswer UpdateResult UpdateStream Updated
    UpdatedTask UpdatedTasks UsageError User VehiclePreference VersionConflict __version__ check_order unreadable
    what_is_known
"""


def modules() -> dict[str, Path]:
    """Every file of the package by its dotted name without the package's own."""
    files = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


MODULES = modules()


@cache
def tree(module: str) -> ast.Module:
    """A file of the package, parsed."""
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> list[str]:
    """The absolute names that a file imports, also inside its functions: ``from x import y`` as ``x.y``."""
    path = MODULES[module]
    names: list[str] = []
    package = f"gotsurge_async.{module}".rstrip(".").split(".")
    if path.name != "__init__.py":
        package.pop()
    for node in statements(tree(module).body):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names += [f"{base}.{alias.name}" for alias in node.names]
    return names


def statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All statements of a body and in them, without what only a type checker reads."""
    for node in body:
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from statements(getattr(node, part, ()))


def own(name: str) -> str | None:
    """The file of the package that an imported name comes from, None for other packages."""
    if not name.startswith("gotsurge_async."):
        return "" if name == "gotsurge_async" else None
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in MODULES:
        parts.pop()
    return ".".join(parts)


def top(name: str) -> str:
    """The first part of a dotted name."""
    return name.partition(".")[0]


def drawn_floors() -> dict[str, int]:
    """The floors as docs/architecture.md draws them: the floor of each file or folder, by its dotted name."""
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawing = page.partition("```floors\n")[2].partition("```")[0]
    floors: dict[str, int] = {}
    for line in drawing.splitlines():
        number, *names = line.partition(" - ")[0].split()
        for name in names:
            assert name not in floors, f"{name} is drawn twice"
            floors[name.rstrip("/").replace("/", ".")] = int(number)
    return floors


FLOORS = drawn_floors()


def place(module: str) -> str:
    """The file or folder of the drawing in which a file is; empty if it is in none."""
    while module and module not in FLOORS:
        module = module.rpartition(".")[0]
    return module


def test_the_drawing_is_of_this_house() -> None:
    """Every file is drawn, by itself or with its folder, and everything that is drawn is there."""
    assert not [module for module in MODULES if module and not place(module) and not has_only_names(module)]
    assert not [name for name in FLOORS if name not in MODULES]
    assert {*FLOORS.values()} == {*range(1, 9)}


def test_the_page_names_files_that_are_there() -> None:
    """Each file and folder in docs/architecture.md exists: in the package, beside it, or in a folder of it."""
    root = PACKAGE.parent
    page = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`([\w/]+(?:\.py|\.md|\.sql|/))`", page))
    assert len(names) > 30
    assert not [
        name
        for name in names
        if not (PACKAGE / name).exists()
        and not (root / name).exists()
        and not [*PACKAGE.rglob(name.rstrip("/").rpartition("/")[2])]
    ]


def has_only_names(module: str) -> bool:
    """Whether the file is a folder's front, which names what the folder offers and holds no code."""
    body = tree(module).body
    return MODULES[module].name == "__init__.py" and all(
        isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign | ast.Expr) for node in body
    )


def test_a_file_imports_its_own_floor_or_a_lower_one() -> None:
    """No file knows what stands above it, also not inside its functions, and none imports the package's front."""
    for module in filter(place, MODULES):
        for name in imports(module):
            target = own(name)
            if target is not None:
                assert target, f"{module} imports from gotsurge_async itself: {name}"
                assert place(target), f"{module} imports {target}, the front of several floors"
                assert FLOORS[place(target)] <= FLOORS[place(module)], f"{module} reaches up to {target}"


def test_the_lowest_floor_is_plain_values() -> None:
    """It imports the standard library and libraries of plain values: no event loop, no network, no logging."""
    for module in MODULES:
        if FLOORS.get(place(module)) == 1 and module not in OF_TIME:
            others = {top(name) for name in imports(module)} - {"gotsurge_async"}
            assert others - sys.stdlib_module_names <= PLAIN_LIBRARIES, module
            assert not others & NOT_PLAIN, module


def test_a_folder_can_be_seen_at_a_glance() -> None:
    """No folder holds more than a dozen files, its front not counted."""
    files = Counter(path.parent for path in MODULES.values() if path.name != "__init__.py")
    assert not [str(folder) for folder, count in files.items() if count > MOST_FILES]


def test_nothing_imports_itself_in_a_circle() -> None:
    """Following imports, those inside functions too, never leads back to a file."""
    needs = {
        module: {target for name in imports(module) if (target := own(name)) not in (None, module)}
        for module in MODULES
        if module
    }
    done: set[str] = set()
    path: list[str] = []

    def follow(module: str) -> None:
        assert module not in path, f"a circle of imports: {' -> '.join([*path[path.index(module) :], module])}"
        if module in done:
            return
        path.append(module)
        for target in needs.get(module, ()):
            if target:
                follow(target)
        path.pop()
        done.add(module)

    for module in needs:
        follow(module)


def test_a_file_can_be_read_at_one_sitting() -> None:
    """No file is longer than 480 lines, nor is one of the tests, and each of the package says what it is."""
    files = [*MODULES.values(), *Path(__file__).parent.rglob("*.py")]
    assert not [str(path) for path in files if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES]
    assert not [module for module in MODULES if tree(module).body and not ast.get_docstring(tree(module))]


def test_the_adapter_to_the_queue_is_thin() -> None:
    """It is under 300 lines in all, and knows nothing of how orders are sent: a worker and the ledger do."""
    files = [module for module in MODULES if top(module) == "fleet"]
    lines = sum(len(MODULES[module].read_text(encoding="utf-8").splitlines()) for module in files)
    assert lines <= MOST_LINES_OF_THE_QUEUE
    needed = {target for module in files for name in imports(module) if (target := own(name)) is not None}
    assert {target for target in needed if top(target) != "fleet"} <= KNOWN_TO_THE_QUEUE


def test_no_module_holds_state() -> None:
    """No function of floors 1 to 3 rebinds a name of its module: two clients never meet there."""
    low = [module for module in MODULES if FLOORS.get(place(module), 9) < 4]
    assert not [module for module in low if any(isinstance(s, ast.Global) for s in statements(tree(module).body))]


def test_the_public_names_are_these() -> None:
    """`__all__` is sorted, whole and importable; a name comes or goes only together with this list."""
    assert sorted(gotsurge_async.__all__) == sorted(PUBLIC_NAMES.split())
    assert gotsurge_async.__all__ == sorted(
        gotsurge_async.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )
    for name in PUBLIC_NAMES.split():
        assert getattr(gotsurge_async, name) is not None


@pytest.mark.parametrize("front", [gotsurge_async, bulk], ids=["the package", "bulk"])
def test_a_front_imports_what_it_declares(front: ModuleType) -> None:
    """Type checkers read the same names from the same modules as a program does, and `__all__` has all of them."""
    (block,) = (
        node
        for node in ast.parse(Path(str(front.__file__)).read_text(encoding="utf-8")).body
        if isinstance(node, ast.If)
    )
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    declared = {f"gotsurge_async.{module}": names.split() for module, names in front._HOMES.items()}
    assert {node.module: [alias.name for alias in node.names] for node in imports} == declared
    assert sorted(name for names in declared.values() for name in names) == sorted(front.__all__)
    with pytest.raises(AttributeError, match="'Nothing'"):
        _ = front.Nothing


def classes_in(hint: Any) -> set[type]:
    """The classes of the package in an annotation, and those in the fields of such a class."""
    inside = {found for part in typing.get_args(hint) for found in classes_in(part)}
    cls = typing.get_origin(hint) or hint
    if not (isinstance(cls, type) and cls.__module__.startswith("gotsurge_async")) or cls is Money:
        return inside
    fields = typing.get_type_hints(cls).items() if issubclass(cls, Model) else ()
    return inside | {cls} | {found for name, part in fields if name != "JSON_FORM" for found in classes_in(part)}


def test_every_class_that_a_call_returns_is_public() -> None:
    """What a method of the client or of a resource returns, and all that it consists of, is in a front."""
    calls = [call for call in public_calls() if call.owner and call.owner.__module__.startswith(CALLS)]
    returned = {cls for call in calls for cls in classes_in(hints_of(call.code).get("return"))}
    assert {gotsurge_async.CreatedTasks, gotsurge_async.Driver, gotsurge_async.SignedIn} <= returned
    assert {cls.__name__ for cls in returned} <= {*gotsurge_async.__all__, *bulk.__all__, "Platform"}


def test_importing_the_package_is_cheap() -> None:
    """A fresh interpreter that imports the package has loaded no HTTP, database or terminal library."""
    heavy = {"aiohttp", "sqlalchemy", "psycopg", "sqlite3", "click", "rich", "filelock", "yarl", "hypothesis", "pytest"}
    heavy |= {"phonenumbers"}
    code = f"import sys, gotsurge_async; print([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"
    assert not ran.stderr


@pytest.mark.parametrize("mode", Mode)
async def test_one_order_passes_few_files(mode: Mode, tmp_path: Path) -> None:
    """From its row in a CSV file to its row in a result file an order passes at most 65 files of the package.

    The ledger is known to the register: the first push of a new one looks the Task List up, too.
    """
    passed: set[Path] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code  # what is only imported now is not passed
        if event == "call" and code.co_name != "<module>" and code.co_filename.startswith(str(PACKAGE)):
            passed.add(Path(code.co_filename).relative_to(PACKAGE))

    file = tmp_path / "orders.csv"
    file.write_text(",".join(CELLS) + "\n" + ",".join(CELLS.values()) + "\n", encoding="utf-8")

    async def push(gs: GotSurge, ledger_file: Path) -> None:
        async with await Ledger.open(ledger_file) as ledger:
            source = await asyncio.to_thread(open_source, str(file), options=SourceOptions(now=NOW))
            pushing = Push(gs, ledger, mode=mode)
            run, _ = await pushing.load_source(source)
            async with run:
                await pushing.send(run)
                summary = await write_results(ledger, run.info, tmp_path / "out")
            source.close()
        assert summary.created == 1

    async with simulated("platform") as gs:
        # What is imported, or kept for the whole process, at the first use is not passed.
        await push(gs, tmp_path / "first.db")
    async with simulated("platform") as gs:
        async with await Ledger.open(tmp_path / "ledger.db") as ledger:
            first, _ = await Push(gs, ledger, mode=mode).load_orders(orders(1))
            await first.close()
        before = sys.getprofile()
        threading.setprofile(note)
        sys.setprofile(note)
        # Threads that began before are not noted, and whether one of them is taken is chance.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
        try:
            await push(gs, tmp_path / "ledger.db")
        finally:
            sys.setprofile(before)
            threading.setprofile(None)  # type: ignore[arg-type] - the types do not know that this ends it
    ours = {str(path) for path in passed if path.parts[0] not in ("simulator", "testing")}
    assert len(ours) <= MOST_FILES_OF_AN_ORDER, sorted(ours)
