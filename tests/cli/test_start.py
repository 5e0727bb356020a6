"""The command starts fast, and works without the server's libraries."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("urllib3", "tqdm", "yaml", "sqlite3", "steelyard.server", "fastapi", "pydantic", "granian", "sqlalchemy")

BLOCKER = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("fastapi", "pydantic", "pydantic_settings", "granian", "sqlalchemy", "alembic"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from steelyard.cli import main
main(sys.argv[1:])
"""


MODULES_AT_THE_END = """
import sys
from steelyard.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules, sep="\\n", file=sys.stderr)
"""


def python(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["push", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    done = python(MODULES_AT_THE_END, *arguments)
    assert done.returncode == 0 and done.stdout
    assert [name for name in HEAVY if name in done.stderr.splitlines()] == []


def test_the_client_loads_nothing_of_the_server() -> None:
    done = python("import sys, steelyard\nsteelyard.Client('http://127.0.0.1:9')\nprint(*sys.modules, sep='\\n')")
    assert done.returncode == 0
    loaded = done.stdout.splitlines()
    assert "urllib3" in loaded
    assert [name for name in loaded if name.startswith(("steelyard.server", "fastapi", "pydantic", "click"))] == []


@pytest.mark.parametrize("name", ["serve", "admin"])
def test_without_the_server_s_libraries_the_next_step_is_named(name: str) -> None:
    done = python(BLOCKER, name, "--help")
    assert done.returncode == 1
    assert "pip install 'steelyard[server]'" in done.stderr and "Traceback" not in done.stderr


def test_without_the_server_s_libraries_everything_else_works() -> None:
    assert python(BLOCKER, "--help").returncode == 0
    assert python(BLOCKER, "show", "acme/tiny", "--url", "http://127.0.0.1:9").returncode == 6


MODULES_OF_A_SERVER = """
import sys
from pathlib import Path
from steelyard.cli import main
main.get_command(None, "serve")
from steelyard.server.app import create_app, open_registry
from steelyard.server.settings import Settings
registry = open_registry(Settings(data=Path(sys.argv[1])))
create_app(registry)
registry.close()
print(*sys.modules, sep="\\n")
"""

LATE = (
    *("alembic", "mako", "pygments"),  # migrations
    *("numpy", "hf_xet"),  # chunks
    *("jinja2", "markdown_it", "nh3"),  # pages and cards
    *("boto3", "botocore", "psycopg", "valkey"),  # engines that are not the embedded ones
    *("authlib", "joserfc", "cryptography", "opentelemetry.sdk", "urllib3"),  # who is asked elsewhere
    *("steelyard.client.push", "tqdm", "PIL", "httpx", "httpx2"),  # clients
)


def modules_of_a_server(data: Path) -> list[str]:
    """What is loaded when a server with the embedded defaults is about to listen."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("STEELYARD_", "OTEL_"))}
    command = [sys.executable, "-c", MODULES_OF_A_SERVER, str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=data.parent)
    return done.stdout.splitlines()


def test_a_server_loads_only_what_every_server_needs(tmp_path: Path) -> None:
    """Each of these takes megabytes for as long as the server runs, and a tenth of a second of its start."""
    data = tmp_path / "data"
    assert "alembic" in modules_of_a_server(data), "there are tables to be made"
    loaded = modules_of_a_server(data)
    assert [name for name in LATE if name in loaded] == []
    assert len(loaded) < 1_100


SIGNATURES_READ = """
import sys
from pathlib import Path
from fastapi import routing
read, real = [], routing.get_dependant
def counting(**given):
    read.append(given["call"])
    return real(**given)
from steelyard.server import app
from steelyard.server.settings import Settings
settings = Settings(data=Path(sys.argv[1]))
routing.get_dependant = counting
app.read_signatures(settings)
first = len(read)
app.create_app(app.open_registry(settings)).openapi()
print(first, len(read) - first, len(list(routing.iter_route_contexts([*app._routes(), *app._pages()]))))
"""


def test_the_framework_reads_each_signature_once_for_each_address(tmp_path: Path) -> None:
    """It did so three times for some, where a router was put into another and that one into the application."""
    done = python(SIGNATURES_READ, str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    at_once, later, addresses = map(int, done.stdout.split())
    assert at_once <= addresses + 10
    assert later <= 5  # pages of the documentation, which each application adds by itself
