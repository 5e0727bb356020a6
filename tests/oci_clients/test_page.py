"""The page that tells which container tools work names those that the tests try; their pins are exact; and a tool that
is not there is a failure. These need none of the tools.
"""

from pathlib import Path

import pytest

from tests.oci_clients import programs
from tests.oci_clients.programs import ORAS_PINS, ProgramMissing, find_program, install_oras
from tests.oci_clients.skopeo import Skopeo
from tests.oci_clients.table import BLOCK, HEAD, PAGE, row
from tests.oci_clients.tools import TOOLS


def test_the_table_tells_what_each_tool_does() -> None:
    found = BLOCK.search(PAGE.read_text("utf-8"))
    assert found, "docs/clients.md has no table of container tools"
    lines = [line for line in found[2].splitlines() if not line.startswith("|---")]
    head, *body = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert head == list(HEAD), "write it anew: python -m tests.oci_clients.table"
    assert [tuple(cells) for cells in body] == [row(tool, cells[1]) for tool, cells in zip(TOOLS, body, strict=True)]
    assert all(cells[1][0].isdigit() for cells in body), body


def test_the_pins_of_oras_are_exact() -> None:
    lines = [line for line in ORAS_PINS.read_text("utf-8").splitlines() if not line.startswith(" ")]
    assert any(line.startswith("oras==") for line in lines)
    assert all(line.count("==") >= 1 for line in lines if line.strip()), lines


def test_a_tool_that_is_not_there_fails_and_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramMissing, match="apt-get install containerd"):
        find_program("ctr")
    with pytest.raises(ProgramMissing, match="apt-get install skopeo"):
        Skopeo.version()


def test_oras_that_cannot_be_installed_fails_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "HOME", tmp_path / "home")
    monkeypatch.setattr(programs, "ORAS_PINS", tmp_path / "oras.txt")
    (tmp_path / "oras.txt").write_text("./there-is-no-such-folder\n")
    for _ in range(2):
        with pytest.raises(ProgramMissing, match="there-is-no-such-folder"):
            install_oras()
