"""The documents say what the code does: tables are compared with it, examples are run, links lead somewhere.

`python -m tests.test_docs` makes the table of settings in docs/operations.md anew.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from steelyard.server.core.limits import LimitedAction
from steelyard.server.db.tables import Table
from steelyard.server.errors import RegistryError
from steelyard.server.settings import Settings
from tests.house import Registered, RunningServer
from tests.server.doors.native.access_table import ROWS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
PREFIX = "/api/v1"


def read(page: str) -> str:
    """A page, by its path below the root."""
    return (ROOT / page).read_text("utf-8")


def rows(text: str, columns: int) -> Iterator[list[str]]:
    """The rows of all tables of so many columns, heads and rules left out."""
    table = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|---")]
    cells = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table)
    yield from (row for row in cells if len(row) == columns)


def code(cell: str) -> str:
    """What stands between backticks."""
    return cell.partition("`")[2].partition("`")[0]


# --- settings

_SETTINGS = re.compile(r"(<!-- settings: .* -->\n).*(<!-- /settings -->)", re.DOTALL)


def settings_table() -> str:
    """The table of settings as docs/operations.md has it."""
    head = ["| key | variable | default | what |", "|---|---|---|---|"]
    return "\n".join([*head, *(_settings_row(name) for name in Settings.model_fields), ""])


def _settings_row(name: str) -> str:
    field = Settings.model_fields[name]
    return f"| `{name}` | `STEELYARD_{name.upper()}` | {_default(name, field.default)} | {field.description} |"


def _default(name: str, value: object) -> str:
    """A default as a person reads it: sizes with their unit."""
    if value in (None, ()):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    units = {2**40: "TiB", 2**30: "GiB", 2**20: "MiB"}
    size = value if isinstance(value, int) and name.endswith("_bytes") else 0
    sizes = (f" ({size // unit} {word})" for unit, word in units.items() if size >= unit)
    return f"`{value}`{next(sizes, '')}"


def write_settings_table() -> None:
    """Put the table into docs/operations.md."""
    page = DOCS / "operations.md"
    page.write_text(
        _SETTINGS.sub(lambda found: found[1] + settings_table() + found[2], page.read_text("utf-8")), "utf-8"
    )


def test_the_table_of_settings_is_that_of_the_code() -> None:
    found = _SETTINGS.search(read("docs/operations.md"))
    assert found and settings_table() in found[0], "make it anew: python -m tests.test_docs"


# --- the API


def test_every_route_is_documented_and_every_documented_one_exists(registered: Registered) -> None:
    document = registered.client.get("/openapi.json").json()
    real = {
        (method.upper(), path.removeprefix(PREFIX), operation["operationId"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    documented = {(row[0], code(row[1]), code(row[2])) for row in rows(read("docs/api.md"), 5) if row[0].isupper()}
    assert documented == real


def test_every_documented_success_is_that_of_the_operation(registered: Registered) -> None:
    operations = registered.client.get("/openapi.json").json()["paths"]
    for method, path, _, _, success in (row for row in rows(read("docs/api.md"), 5) if row[0].isupper()):
        responses = operations[PREFIX + code(path)][method.lower()]["responses"]
        assert set(re.findall(r"\b2\d\d\b", success)) <= set(responses), path
        assert {"201", "202", "204"} & set(responses) <= set(re.findall(r"\b2\d\d\b", success)), path


WORDS = {
    "nothing": "anybody",
    "a ticket": "the link",
    "a token": "any token",
    "to look around": "any token",
    "a person": "any person's token",
    "a person who writes": "any person's token",
    "a person who may write": "any person's token that writes",
    "a person, unnarrowed": "any person's token",
    "an instance admin": "instance admin",
    "to see the model": "sees it",
    "to see the organisation": "members",
    "a member": "reader",
    "a contributor": "contributor",
    "an owner": "owner",
    "an owner who reads": "owner",
}
"""How docs/api.md begins to say what a route demands, in the words of the table that every caller is tried against."""


def test_what_a_route_demands_is_what_the_tests_of_access_found() -> None:
    documented = {(row[0], code(row[1])): row[3] for row in rows(read("docs/api.md"), 5) if row[0].isupper()}
    for row in ROWS:
        said = documented[row.method, row.path.replace(":path", "")]
        assert said.startswith(WORDS[row.demands]) or row.is_personal, f"{row}: {row.demands}"


def test_every_address_outside_the_api_is_documented(registered: Registered) -> None:
    page = read("docs/api.md")
    for path in ("/docs", "/redoc", "/openapi.json", "/docs/assets/swagger-ui.css", "/health", "/ready", "/config"):
        assert registered.client.get(path).status_code == 200
        assert f"`{path.removesuffix('/swagger-ui.css')}`" in page


def errors_of(root: type[RegistryError]) -> Iterator[type[RegistryError]]:
    """An error and all that are made from it."""
    yield root
    for child in root.__subclasses__():
        yield from errors_of(child)


def test_every_error_is_documented_and_every_documented_one_exists() -> None:
    documented = {(int(row[0]), code(row[1])) for row in rows(read("docs/api.md"), 3) if row[0].isdigit()}
    assert documented == {(error.status, error.type) for error in errors_of(RegistryError)}


def test_operators_are_told_what_each_failure_means() -> None:
    page = read("docs/operations.md")
    for error in errors_of(RegistryError):
        if error.status >= 500 or error.status in (413, 426, 429):
            assert f"| {error.status} `{error.type}`" in page


def test_every_budget_is_documented_and_every_documented_one_exists() -> None:
    section = read("docs/api.md").partition("## Limits")[2].partition("## ")[0]
    assert [code(row[0]) for row in rows(section, 2)][1:] == [str(action) for action in LimitedAction]


def test_every_audit_action_is_documented_and_every_documented_one_exists() -> None:
    section = read("docs/api.md").partition("## Audit actions")[2].partition("## ")[0]
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "src/steelyard/server/core").rglob("*.py"))
    others = {"general.alignment", "weight.config"}  # words of GGUF and of ModelPack
    written = set(re.findall(r'"([a-z_]+\.[a-z]+)"', sources)) - others
    assert written == {name for name in re.findall(r"`([a-z_.]+)`", section) if "." in name}


# --- the house


def test_every_table_of_the_database_is_described() -> None:
    section = read("docs/architecture.md").partition("## The data model")[2].partition("\n## ")[0]
    described = {name for row in rows(section, 2) for name in re.findall(r"`([a-z_]+)`", row[0])}
    assert described == set(Table.metadata.tables)


def test_the_map_has_every_module_of_the_server() -> None:
    """A cell of the map that is one word is a module."""
    section = read("docs/architecture.md").partition("## The map")[2].partition("\n## ")[0]
    drawn = [
        cell for line in section.splitlines() for cell in re.split(r" {2,}", line) if re.fullmatch("[a-z_]+", cell)
    ]
    server = ROOT / "src/steelyard/server"
    modules = (path for path in server.rglob("*.py") if "migrations" not in path.parts)
    assert sorted(drawn) == sorted(path.stem for path in modules if path.name != "__init__.py")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    for link, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)", prose):
        target = (page.parent / link).resolve() if link else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor[1:] in anchors_of(target), f"{link}{anchor} leads nowhere"
    makefile = read("Makefile")
    for target in re.findall(r"`make ([a-z-]+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"there is no `make {target}`"
    for path in re.findall(r"`((?:src|tests|docs|bench|demo)/[\w./-]+)`", prose):
        assert (ROOT / path).exists(), f"there is no {path}"


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


# --- the examples

_BLOCK = re.compile(r"^```(sh|python|js)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PROGRAMS = {
    "sh": ["bash", "-euo", "pipefail", "-c"],
    "python": [sys.executable, "-c"],
    "js": ["node", "--input-type=module", "-e"],
}
_NEEDED = {"sh": ["bash", "curl", "jq", "sha256sum"], "python": [], "js": ["node"]}


@pytest.mark.parametrize("page", ["README.md", "docs/clients.md", "docs/operations.md"])
def test_the_examples_run(page: str, server: RunningServer, tmp_path: Path) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    (folder / "registry").symlink_to(server.data)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("STEELYARD_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "STEELYARD_CONFIG": str(folder / "login.json"),
        "STEELYARD_CACHE": str(folder / "cache"),
        "HF_HOME": str(folder / "hub"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        **({} if page == "README.md" else {"STEELYARD_URL": server.url, "STEELYARD_TOKEN": server.token}),
        **({} if page == "README.md" else {"HF_ENDPOINT": server.url, "HF_TOKEN": server.token}),
    }
    examples = _BLOCK.findall(read(page))
    assert examples
    for language, text in examples:
        if not all(map(shutil.which, _NEEDED[language])):
            pytest.skip(f"{' or '.join(_NEEDED[language])} is not installed")
        text = text.replace("http://127.0.0.1:8950", server.url)
        command = [*_PROGRAMS[language], text]
        done = subprocess.run(
            command, check=False, env=environment, cwd=folder, input=server.token, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


if __name__ == "__main__":
    write_settings_table()
