"""How the package is built: floors, sizes, public names, and what an import costs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gotsurge_async

PACKAGE = Path(gotsurge_async.__file__).parent
FLOORS = {
    1: {"errors", "money", "models", "codec", "api", "config", "secrets", "version", "starting"},
    2: {"clock", "transports", "auth", "hooks", "calls"},
    3: {"resources", "client"},
    4: {"telemetry", "bulk", "webhooks", "distributed"},
    5: {"simulator", "testing", "cli", "__main__"},
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names}
THIRD_PARTY_OF_FLOOR_1 = {"attrs", "attr", "cattrs", "msgspec"}
NOT_ON_FLOOR_1 = {"asyncio", "logging", "socket", "ssl", "threading", "subprocess", "time"}
MOST_LINES = 450

PUBLIC_NAMES = """
    Address BadRequest BroadcastPreference CallError CargoDetail ConfigError Conflict Contact Created Credentials
    Environment FileStore Forbidden GotSurge GotSurgeError InDoubt InvalidData Item Limits MemoryStore Money
    NotFound NotSent NotUpdated OAuth Order OrderResult Organization OutcomeUnknown PayloadTooLarge PriceVehicle
    Problem Profile Quote RateLimited Receipt Refused Rejected RetryPolicy Sealer Secret ServiceType SignInFailed
    SignInNeeded SignatureForm Stop Task TaskChanges TaskStatus TimeWindow Timeouts TokenStore Tokens
    TooLateToCancel Unauthorized UnreadableAnswer Unprocessed UpdateResult Updated UsageError VehiclePreference
    VersionConflict __version__
"""


def modules() -> dict[str, Path]:
    """Every file of the package by its dotted name without the package's own."""
    files = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


MODULES = modules()


def imports(module: str, *, at_import: bool = False) -> Iterator[str]:
    """The absolute names that a file imports, ``from x import y`` as ``x.y``; only those run at its import if asked."""
    path = MODULES[module]
    package = f"gotsurge_async.{module}".rstrip(".").split(".")
    if path.name != "__init__.py":
        package.pop()
    for node in walk(ast.parse(path.read_text(encoding="utf-8")), into_functions=not at_import):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def walk(node: ast.AST, *, into_functions: bool) -> Iterator[ast.AST]:
    """All nodes below, without the bodies of functions unless asked, and without what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not into_functions:
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        yield child
        yield from walk(child, into_functions=into_functions)


def own(name: str) -> str | None:
    """The file of the package that an imported name comes from, None for other packages."""
    if not name.startswith("gotsurge_async."):
        return "" if name == "gotsurge_async" else None
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in MODULES:
        parts.pop()
    return ".".join(parts)


def top(module: str) -> str:
    """The first part of a dotted name."""
    return module.partition(".")[0]


def test_every_file_stands_on_a_floor() -> None:
    """The first name below the package of each file is on exactly one floor."""
    assert {top(module) for module in MODULES if module} <= set(FLOOR_OF)
    assert sum(map(len, FLOORS.values())) == len(FLOOR_OF)


@pytest.mark.parametrize("module", [module for module in MODULES if module])
def test_a_file_imports_its_own_floor_or_a_lower_one(module: str) -> None:
    """No file knows what stands above it, also not inside its functions, and none imports the package's front."""
    for name in imports(module):
        target = own(name)
        if target is not None:
            assert target, f"{module} imports from gotsurge_async itself: {name}"
            assert FLOOR_OF[top(target)] <= FLOOR_OF[top(module)], f"{module} reaches up to {target}"


@pytest.mark.parametrize("module", [module for module in MODULES if FLOOR_OF.get(top(module)) == 1])
def test_the_first_floor_is_plain_values(module: str) -> None:
    """Floor 1 imports the standard library, attrs, cattrs and msgspec; no event loop, no network, no logging."""
    others = {top(name) for name in imports(module)} - {"gotsurge_async"}
    assert others - sys.stdlib_module_names <= THIRD_PARTY_OF_FLOOR_1
    assert not others & NOT_ON_FLOOR_1


def test_nothing_imports_itself_in_a_circle() -> None:
    """Following the imports that run when a file is imported never leads back to it."""
    needs = {
        module: {target for name in imports(module, at_import=True) if (target := own(name)) not in (None, module)}
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


@pytest.mark.parametrize("module", MODULES)
def test_a_file_can_be_read_at_one_sitting(module: str) -> None:
    """No file is longer than 450 lines, and each says in a docstring what it is."""
    text = MODULES[module].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert not text.strip() or ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("module", [module for module in MODULES if FLOOR_OF.get(top(module), 9) <= 3])
def test_no_module_holds_state(module: str) -> None:
    """No function of floors 1 to 3 rebinds a name of its module: two clients never meet there."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Global)]


def test_the_public_names_are_these() -> None:
    """`__all__` is sorted, whole and importable; a name comes or goes only together with this list."""
    assert sorted(gotsurge_async.__all__) == sorted(PUBLIC_NAMES.split())
    assert gotsurge_async.__all__ == sorted(
        gotsurge_async.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )
    for name in PUBLIC_NAMES.split():
        assert getattr(gotsurge_async, name) is not None


def test_every_imported_public_name_is_declared() -> None:
    """What `gotsurge_async/__init__.py` imports is exactly what `__all__` declares."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    imported = {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported == set(gotsurge_async.__all__)


def test_importing_the_package_is_cheap() -> None:
    """A fresh interpreter that imports the package has loaded no HTTP, database or terminal library."""
    heavy = ["aiohttp", "sqlalchemy", "aiosqlite", "click", "rich", "filelock", "yarl", "hypothesis", "pytest"]
    code = f"import sys, gotsurge_async; print([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"
    assert not ran.stderr
