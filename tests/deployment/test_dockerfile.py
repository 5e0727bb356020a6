"""The image: what the Dockerfile promises, and that its steps make a server which starts. There is no engine here to
build it with, so its own commands are run in a folder instead."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from steelyard import __version__
from tests.deployment.files import DEPLOY, ROOT, exec_form, instructions
from tests.house.servers import free_port


def of(name: str) -> list[str]:
    """What follows every instruction of this name."""
    return [rest for instruction, rest in instructions() if instruction == name]


def locked(path: Path) -> dict[str, str]:
    """Distribution and version -> its hashes, as a lock has them."""
    blocks = re.split(r"\n(?=\S)", path.read_text("utf-8").strip())
    return {block.partition(" ")[0]: block for block in blocks}


def test_the_linter_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, "--no-color", ROOT / "Dockerfile"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_stages_stand_on_one_image_of_a_named_version() -> None:
    first, last = (rest.split(" ")[0] for rest in of("FROM"))
    assert first == last
    assert re.fullmatch(r"python:3\.\d+-slim", last)


def test_the_image_runs_as_a_user_with_a_fixed_number_and_no_rights() -> None:
    names = [name for name, _ in instructions()]
    assert of("USER") == ["10001:10001"]
    assert "--uid 10001" in " ".join(of("RUN"))
    assert "RUN" not in names[names.index("USER") :]


def test_signals_reach_the_server_itself() -> None:
    assert exec_form(of("ENTRYPOINT")[0]) == ["steelyard"]
    assert exec_form(of("CMD")[0]) == ["serve"]
    assert of("STOPSIGNAL") == ["SIGTERM"]


def test_the_image_says_how_it_is() -> None:
    [check] = of("HEALTHCHECK")
    assert "/health" in exec_form(check.partition("CMD ")[2])[2]


def test_the_image_says_what_it_is() -> None:
    labels = " ".join(of("LABEL"))
    assert f'org.opencontainers.image.version="{__version__}"' in labels
    assert 'org.opencontainers.image.licenses="Apache-2.0"' in labels


def test_nothing_is_copied_that_the_list_of_the_context_leaves_out() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    copied = {word for rest in of("COPY") if not rest.startswith("--from") for word in rest.split(" ")[:-1]}
    assert copied == allowed
    assert all((ROOT / path).exists() for path in copied)


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-build.txt"])
def test_the_image_has_what_was_tested(lock: str) -> None:
    tested = locked(ROOT / "requirements.lock")
    image = locked(DEPLOY / lock)
    assert image
    for name, block in image.items():
        assert "--hash=sha256:" in block
        assert tested[name].split("--hash")[1:] == block.split("--hash")[1:], f"{name}: make lock"


def test_the_image_has_every_engine() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = (text for texts in project["optional-dependencies"].values() for text in texts)
    image = {name.partition("==")[0]: name.partition("==")[2] for name in locked(DEPLOY / "requirements.txt")}
    for wanted in map(Requirement, [*project["dependencies"], *extras]):
        assert wanted.specifier.contains(image[wanted.name]), f"{wanted}: make lock"


# --- the steps themselves


@pytest.mark.thorough
def test_the_steps_of_the_first_stage_make_a_server_that_starts(tmp_path: Path) -> None:
    build, opt = tmp_path / "build", tmp_path / "opt/steelyard"
    for name, rest in first_stage():
        if name == "COPY":
            _copy(rest.split(" "), build)
        elif name == "RUN":
            _run(rest.replace("/opt/steelyard", str(opt)), build)
    shutil.rmtree(build)  # the second stage has none of it
    data = tmp_path / "data"
    environment = {**_image_environment(opt), "STEELYARD_DATA": str(data), "STEELYARD_PORT": str(free_port())}
    server = subprocess.Popen(
        [*exec_form(of("ENTRYPOINT")[0]), *exec_form(of("CMD")[0])],
        env=environment,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
    )
    try:
        assert _is_healthy_in_time(environment)
        assert (data / "steelyard.sqlite3").exists()
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=20)
    assert server.returncode == 0
    assert not _is_healthy(environment)


def first_stage() -> Iterator[tuple[str, str]]:
    """The instructions up to the second FROM."""
    stage = 0
    for name, rest in instructions():
        stage += name == "FROM"
        if stage == 1:
            yield name, rest


def _copy(words: list[str], build: Path) -> None:
    *sources, place = words
    for source in sources:
        target = build / place / Path(source).name if place.endswith("/") else build / place
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-r", ROOT / source, target], check=True)


def _run(command: str, folder: Path) -> None:
    """Run it as the builder would, with the Python of the tests for that of the image."""
    environment = {**dict(word.split("=") for rest in of("ENV")[:1] for word in rest.split(" ")), "HOME": str(folder)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-euc", command],
        cwd=folder,
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _image_environment(opt: Path) -> dict[str, str]:
    """What the second stage sets, on this machine's loopback."""
    words = shlex.split(of("ENV")[1])
    environment = dict(word.split("=", 1) for word in words)
    environment["PATH"] = environment["PATH"].replace("/opt/steelyard", str(opt)).replace("$PATH", os.environ["PATH"])
    return {**environment, "STEELYARD_HOST": "127.0.0.1"}


def _is_healthy(environment: dict[str, str]) -> bool:
    command = exec_form(of("HEALTHCHECK")[0].partition("CMD ")[2])
    return subprocess.run(command, env=environment, check=False, capture_output=True).returncode == 0


def _is_healthy_in_time(environment: dict[str, str]) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if _is_healthy(environment):
            return True
        time.sleep(0.1)
    return False
