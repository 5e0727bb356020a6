"""Settings as a server would read them from the environment that a deployment gives it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from steelyard.cli.serve import read_settings
from steelyard.server.settings import Settings

ELSEWHERE = ("AWS_", "PG", "OTEL_")  # read by the engines' own libraries


def parse_settings(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Read them; a variable that is no setting, and is not for a library either, fails."""
    for name, value in environment.items():
        setting = name.removeprefix("STEELYARD_").lower()
        assert setting in Settings.model_fields or name.startswith(ELSEWHERE), f"{name} is no setting"
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(Path(__file__).parent)  # where no steelyard.toml is
    return read_settings({})
