"""The command in this process, against a real server or a fake one."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from steelyard.cli import main
from tests.client.conftest import _own_settings, fake, live, make_folder, model
from tests.house import RunningServer

__all__ = ["_own_settings", "fake", "live", "make_folder", "model"]

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Run `steelyard` with these arguments; `code` is the exit code it must end with."""

    def run_command(*arguments: object, code: int = 0, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(main, [str(each) for each in arguments], input=stdin)
        assert result.exit_code == code, (result.exit_code, result.stdout, result.stderr, result.exception)
        return result

    return run_command


@pytest.fixture
def logged_in(live: RunningServer, monkeypatch: pytest.MonkeyPatch) -> RunningServer:
    """The environment names the real server and its admin."""
    monkeypatch.setenv("STEELYARD_URL", live.url)
    monkeypatch.setenv("STEELYARD_TOKEN", live.token)
    return live
