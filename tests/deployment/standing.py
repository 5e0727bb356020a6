"""What compose.yaml describes, put up by hand on loopback: its commands, its variables, its secrets, its proxy, with
addresses of this machine for the names of containers. There is no engine here that could start it as it is."""

import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, LiteralString, cast

from tests.deployment.files import filled_in, read_compose
from tests.house import RunningServer, start_server
from tests.house.leash import start_on_leash
from tests.house.nginx import Nginx
from tests.house.postgres import postgres
from tests.house.servers import free_port
from tests.house.valkey import Valkey

_READY_WITHIN_SECONDS = 30.0
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Standing:
    """Two servers and their proxy; `values` is what .env had."""

    values: Mapping[str, str]
    servers: tuple[RunningServer, RunningServer]
    nginx: Nginx

    @property
    def url(self) -> str:
        return self.nginx.url

    @property
    def token(self) -> str:
        return self.values["ADMIN_TOKEN"]


@contextmanager
def stand(folder: Path) -> Iterator[Standing]:
    """Put it up below `folder`, and take it down again."""
    port = free_port()
    values = {**filled_in(), "PUBLIC_URL": f"http://127.0.0.1:{port}"}
    compose = read_compose(values)
    with ExitStack() as started:
        store = _start_store(compose, folder, started)
        valkey = _start_valkey(compose, started)
        engine, name = _make_database(compose)
        places = {
            "seaweedfs:8333": f"127.0.0.1:{store}",
            "valkey:6379": f"127.0.0.1:{valkey.port}",
            "steelyard@postgres:5432/steelyard": f"{name}@127.0.0.1:{engine}/{name}",
            "172.31.89.0/24": "127.0.0.1",
        }
        environment = {key: _elsewhere(str(value), places) for key, value in _service(compose, "registry").items()}
        started.enter_context(_for_libraries(environment))
        first, second = (_start_server(folder / f"server{n}", environment, started) for n in (1, 2))
        nginx = Nginx([first.port, second.port], store=store, port=port).start()
        started.callback(nginx.discard)
        yield Standing(values, (first, second), nginx)


def _service(compose: Mapping[str, Any], name: str) -> dict[str, str]:
    environment: dict[str, str] = compose["services"][name]["environment"]
    return environment


def _elsewhere(text: str, places: Mapping[str, str]) -> str:
    for there, here in places.items():
        text = text.replace(there, here)
    return text


def _start_store(compose: Mapping[str, Any], folder: Path, started: ExitStack) -> int:
    """SeaweedFS, by the command of compose; answers the port of its S3."""
    data = folder / "weed"
    data.mkdir()
    (data / "s3.json").write_text(compose["configs"]["store"]["content"])
    port = free_port()
    places = {
        "-dir=/data": f"-dir={data}",
        "=/etc/seaweedfs/s3.json": f"={data}/s3.json",
        "=seaweedfs": "=127.0.0.1",
        "=0.0.0.0": "=127.0.0.1",
        "-s3.port=8333": f"-s3.port={port}",
    }
    command = [_elsewhere(word, places) for word in compose["services"]["seaweedfs"]["command"]]
    parts = ("master", "volume", "filer")
    ports = ["admin.port", *(f"{part}.port{kind}" for part in parts for kind in ("", ".grpc")), "s3.port.grpc"]
    ours = [f"-{name}={free_port()}" for name in ports]
    ours += [f"-{part}.localSocket={data}/{part}.sock" for part in ("filer", "s3")]
    weed = str(Path(sys.executable).with_name("weed"))
    running = start_on_leash([weed, *command, *ours], data, data / "log")
    started.callback(running.end)
    _wait_for(f"http://127.0.0.1:{port}/healthz", data / "log")
    return port


def _start_valkey(compose: Mapping[str, Any], started: ExitStack) -> Valkey:
    """Valkey, with the options of compose."""
    words = compose["services"]["valkey"]["command"][1:]
    options = {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}
    valkey = Valkey(options=options).start()
    started.callback(valkey.discard)
    return valkey


def _make_database(compose: Mapping[str, Any]) -> tuple[int, str]:
    """A role and a database by the statements of compose, under a name that is free; answers port and name."""
    name = f"standing_{os.getpid()}_{next(_numbers)}"
    engine = postgres()
    with engine.administering() as connection:
        for statement in compose["configs"]["database"]["content"].replace("steelyard", name).split(";"):
            if statement.strip():
                connection.execute(cast("LiteralString", statement))
    return engine.port, name


def _start_server(data: Path, environment: Mapping[str, str], started: ExitStack) -> RunningServer:
    settings = {
        name.removeprefix("STEELYARD_").lower(): value
        for name, value in environment.items()
        if name.startswith("STEELYARD_")
    }
    server = start_server(data, port=free_port(), **settings)
    started.callback(server.stop)
    return server


@contextmanager
def _for_libraries(environment: Mapping[str, str]) -> Iterator[None]:
    """In the environment of what is started meanwhile: what is no setting, but is read by an engine's own library."""
    ours = {name: value for name, value in environment.items() if not name.startswith("STEELYARD_")}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    yield
    for name, value in before.items():
        os.environ.pop(name)
        os.environ.update({} if value is None else {name: value})


def _wait_for(url: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"it did not start:\n{log.read_text()}")
