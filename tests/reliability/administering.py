"""`steelyard admin …` as an operator runs it: in this process, or in one of its own that may be killed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from steelyard.cli import main


def admin(data: Path, *arguments: str, code: int = 0, env: dict[str, str] | None = None) -> Any:
    """Run the command in this process; answers the JSON that it printed, or what it said instead."""
    ended = CliRunner().invoke(main, ["admin", "--data", str(data), *arguments, "--json"], env=env)
    assert ended.exit_code == code, ended.output
    return json.loads(ended.stdout) if ended.stdout else ended.stderr


def start_admin(data: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "steelyard", "admin", "--data", str(data), *arguments, "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=data.parent)
