"""What clients are installed from is pinned, and one that cannot be installed is a failure."""

from pathlib import Path

import pytest

from tests.hub_clients import environments
from tests.hub_clients.environments import (
    GIT_LFS,
    MATRIX,
    QUICK,
    REQUIREMENTS,
    TRANSFORMERS,
    Environment,
    InstallationFailed,
)


def test_every_pin_is_exact_and_every_file_of_pins_belongs_to_an_environment() -> None:
    used = {path for each in (*MATRIX, TRANSFORMERS, GIT_LFS) for path in each.requirements}
    assert used == set(REQUIREMENTS.glob("*.txt"))
    for path in used:
        lines = [line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines()]
        assert all(line.count("==") == 1 and "*" not in line for line in lines), path


def test_what_every_run_tries_is_of_the_matrix() -> None:
    assert set(QUICK) <= set(MATRIX)


def test_a_client_that_cannot_be_installed_fails_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "HOME", tmp_path / "home")
    monkeypatch.setattr(environments, "REQUIREMENTS", tmp_path)
    (tmp_path / "hub-0.0.1.txt").write_text("./there-is-no-such-folder\n")
    for _ in range(2):
        with pytest.raises(InstallationFailed, match="there-is-no-such-folder"):
            Environment("0.0.1").install()
