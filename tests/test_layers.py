"""The arrows of docs/architecture.md, checked on what every module imports, so that the drawing stays true."""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
SERVER, DOORS = "steelyard.server", "steelyard.server.doors"
PACKAGE = "steelyard"  # the package's own file: `__version__`, and nothing that is loaded with it
DOOR_NAMES = [path.name for path in (SRC / "steelyard/server/doors").iterdir() if (path / "__init__.py").exists()]

_FRAMEWORK = ["fastapi", "starlette", "pydantic", "pydantic_core", "anyio"]
_BELOW = [f"{SERVER}.{room}" for room in ("core", "storage", "settings", "errors", "names", "watching", "xet")]
_WATCHED = [f"{SERVER}.errors", f"{SERVER}.watching", f"{SERVER}.watching.instruments"]
_DOOR = [
    PACKAGE,
    DOORS,
    f"{SERVER}.context",
    f"{SERVER}.db.tables",
    *_BELOW,
    *_FRAMEWORK,
    "fastapi_offline",
    "sqlalchemy",
]

MAY_IMPORT: Mapping[str, Iterable[str]] = {
    PACKAGE: ["steelyard.client"],
    "steelyard.__main__": ["steelyard.cli"],
    "steelyard.client": [PACKAGE, "urllib3", "yaml"],
    "steelyard.client.xet_process": ["hf_xet"],
    "steelyard.cli": [PACKAGE, "steelyard.client", "click", "tqdm"],
    "steelyard.cli.supervising": [],  # processes and pipes: what a worker does, it does not know
    "steelyard.cli.serve": ["steelyard.cli.supervising", SERVER, "click", "pydantic", "granian", "sqlalchemy"],
    "steelyard.cli.admin": [PACKAGE, SERVER, "steelyard.cli.serve", "click", "pydantic"],
    f"{SERVER}.names": [],
    f"{SERVER}.errors": [],
    f"{SERVER}.settings": [f"{SERVER}.names", "pydantic", "pydantic_settings"],
    f"{SERVER}.logs": [f"{SERVER}.settings"],
    f"{SERVER}.watching": [],  # all that the parts see of what watches them: the rest is below
    f"{SERVER}.watching.instruments": [],
    f"{SERVER}.watching.sharing": ["prometheus_client"],
    f"{SERVER}.watching.metrics": [PACKAGE, *_WATCHED, f"{SERVER}.watching.sharing", "prometheus_client"],
    f"{SERVER}.watching.traces": [PACKAGE, *_WATCHED, "opentelemetry"],
    f"{SERVER}.watching.monitor": [
        *_WATCHED,
        f"{SERVER}.watching.metrics",
        f"{SERVER}.watching.sharing",
        f"{SERVER}.watching.traces",
    ],
    f"{SERVER}.watching.samples": [
        f"{SERVER}.context",
        f"{SERVER}.db",
        f"{SERVER}.watching.metrics",
        *_BELOW,
        *_WATCHED,
        "prometheus_client",
        "sqlalchemy",
    ],
    f"{SERVER}.xet": ["blake3", "lz4", "numpy"],  # formats: nothing of the house is needed to read them
    f"{SERVER}.storage": [
        f"{SERVER}.errors",
        f"{SERVER}.watching",
        f"{SERVER}.xet",
        "boto3",
        "botocore",
        "mypy_boto3_s3",
        "urllib3",
    ],
    f"{SERVER}.openid": [PACKAGE, f"{SERVER}.errors", f"{SERVER}.settings", "authlib", "joserfc", "urllib3"],
    f"{SERVER}.db": [f"{SERVER}.errors", f"{SERVER}.watching", "sqlalchemy", "alembic", "psycopg"],
    f"{SERVER}.core": [
        f"{SERVER}.db",
        *_BELOW,
        "sqlalchemy",
        "limits",
        "valkey",
        "itsdangerous",
        "yaml",
        "backports",
        "compression",  # the standard library's from 3.14 on, where `backports` is not needed
    ],
    f"{SERVER}.jobs": [f"{SERVER}.context", f"{SERVER}.db", f"{SERVER}.openid", *_BELOW, "sqlalchemy", "urllib3"],
    f"{SERVER}.context": [f"{SERVER}.db", f"{SERVER}.jobs", f"{SERVER}.openid", f"{SERVER}.watching.monitor", *_BELOW],
    f"{SERVER}.app": [PACKAGE, SERVER, *_FRAMEWORK],
    # What doors share: it sees no door.
    DOORS: [
        f"{SERVER}.context",
        f"{SERVER}.db.tables",
        f"{SERVER}.watching.instruments",
        f"{SERVER}.watching.monitor",
        *_BELOW,
        *_FRAMEWORK,
        "sqlalchemy",
    ],
    **{f"{DOORS}.{door}": _DOOR for door in DOOR_NAMES},
    f"{DOORS}.web": [*_DOOR, "jinja2", "markupsafe", "markdown_it", "nh3", "python_multipart", f"{SERVER}.openid"],
}
"""Room -> what it sees besides itself and the standard library: rooms, single modules, libraries. `steelyard.server`
stands for all of the server. A module's room is the longest of these names that begins its own."""

WITHOUT_HTTP = tuple(f"{SERVER}.{room}" for room in ("names", "errors", "settings", "storage", "db", "core", "jobs"))

Modules = Mapping[str, ast.Module]


@cache
def read_modules() -> Modules:
    """Every module of the package, by name."""
    files = {path.relative_to(SRC).with_suffix(""): path for path in SRC.rglob("*.py")}
    names = {path: ".".join(path.parts).removesuffix(".__init__") for path in files}
    return {names[path]: ast.parse(file.read_text("utf-8")) for path, file in files.items()}


def imports_of(node: ast.AST, modules: Iterable[str]) -> Iterator[str]:
    """The names of the modules that import statements in this node load."""
    for each in ast.walk(node):
        if isinstance(each, ast.Import):
            yield from (alias.name for alias in each.names)
        elif isinstance(each, ast.ImportFrom):
            assert each.module and not each.level, "imports are written out, never relative"
            inner = (f"{each.module}.{alias.name}" for alias in each.names)
            yield from (name if name in modules else each.module for name in inner)


def room_of(module: str) -> str:
    """The room that a module of ours lies in."""
    return max((room for room in MAY_IMPORT if _is_in(module, room)), key=len)


def _is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def is_allowed(importer: str, imported: str) -> bool:
    """Whether the drawing has this arrow."""
    room, library = room_of(importer), imported.partition(".")[0]
    if library in sys.stdlib_module_names:
        return library != "http" or not room.startswith(WITHOUT_HTTP)
    if library != PACKAGE:
        return library in MAY_IMPORT[room]
    sees_it_all = SERVER in MAY_IMPORT[room] and _is_in(imported, SERVER)
    return sees_it_all or room_of(imported) in (room, *MAY_IMPORT[room]) or imported in MAY_IMPORT[room]


def find_faults(modules: Modules) -> list[str]:
    """Every import that no arrow allows."""
    return [
        f"{importer} imports {imported}"
        for importer, tree in sorted(modules.items())
        for imported in sorted(set(imports_of(tree, modules)))
        if not is_allowed(importer, imported)
    ]


def find_cycle(modules: Modules) -> list[str]:
    """Modules that need each other in order to be loaded, if there are any."""
    edges = {name: set(_loaded_with(tree, modules)) & modules.keys() - {name} for name, tree in modules.items()}
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _loaded_with(tree: ast.AST, modules: Modules) -> Iterator[str]:
    """What is imported when the module is: not inside functions, and not for the type checker only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports_of(node, modules)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _loaded_with(node, modules)


def test_every_import_follows_an_arrow() -> None:
    assert find_faults(read_modules()) == []


def test_no_module_needs_itself_in_order_to_be_loaded() -> None:
    assert find_cycle(read_modules()) == []


@pytest.mark.parametrize(
    ("importer", "statement"),
    [
        ("steelyard.client.cache", "from steelyard.server.names import Oid"),
        ("steelyard.client.cache", "import httpx2"),
        ("steelyard.cli.models", "from steelyard.server import app"),
        ("steelyard.cli.models", "def late():\n    import steelyard.server.settings"),
        ("steelyard.server.names", "from steelyard.server.errors import Invalid"),
        ("steelyard.server.errors", "import pydantic"),
        ("steelyard.server.storage.local", "from steelyard.server.db import tables"),
        ("steelyard.server.db.engine", "from steelyard.server.core.access import Actor"),
        ("steelyard.server.db.engine", "from steelyard.server.names import Oid"),
        ("steelyard.server.db.engine", "from steelyard.server.watching.metrics import Metrics"),
        ("steelyard.server.core.files.trees", "import prometheus_client"),
        ("steelyard.server.storage.watched", "from opentelemetry import trace"),
        ("steelyard.server.watching.metrics", "from steelyard.server.db.engine import Database"),
        ("steelyard.server.doors.middleware", "from steelyard.server.watching.metrics import Metrics"),
        ("steelyard.server.core.models", "from fastapi import Request"),
        ("steelyard.server.core.models", "from http import HTTPStatus"),
        ("steelyard.server.core.models", "from steelyard.server.doors import ranges"),
        ("steelyard.server.core.models", "from steelyard.server.context import Registry"),
        ("steelyard.server.jobs.gc", "from starlette.requests import Request"),
        ("steelyard.server.doors.native.models", "from steelyard.server.db.engine import Database"),
        ("steelyard.server.doors.native.models", "from steelyard.server.app import create_app"),
        ("steelyard.server.doors.middleware", "from steelyard.server.doors.native import errors"),
        ("steelyard.server.doors.middleware", "from steelyard.server.doors.native.errors import answer"),
    ],
)
def test_a_wrong_arrow_is_found(importer: str, statement: str) -> None:
    modules = {**read_modules(), importer: ast.parse(statement)}
    assert [fault for fault in find_faults(modules) if fault.startswith(f"{importer} imports ")]


def test_a_second_door_may_not_see_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    second = f"{DOORS}.second"
    monkeypatch.setattr("tests.test_layers.MAY_IMPORT", {**MAY_IMPORT, second: MAY_IMPORT[f"{DOORS}.native"]})
    statements = ["from steelyard.server.doors.native import schemas", "from steelyard.server.doors import ranges"]
    modules = {**read_modules(), f"{second}.routes": ast.parse("\n".join(statements))}
    assert find_faults(modules) == [f"{second}.routes imports {DOORS}.native.schemas"]


def test_a_cycle_is_found_and_one_that_is_never_loaded_is_none() -> None:
    late = "def late():\n    import steelyard.a"
    typing = "if TYPE_CHECKING:\n    import steelyard.a"
    for second, found in (("import steelyard.a", True), (late, False), (typing, False)):
        modules = {"steelyard.a": ast.parse("import steelyard.b"), "steelyard.b": ast.parse(second)}
        assert bool(find_cycle(modules)) is found
