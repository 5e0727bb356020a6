"""The OpenAPI document and the server hold each other to their word: schemathesis, every operation, every check.

What it is told of this API is in `fuzzing/`: the configuration, and hooks that ask for real things.
"""

import json
import os
import random
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.house import RunningServer, start_server
from tests.house.openid import CLIENT_ID, CLIENT_SECRET, own_provider
from tests.house.seaweed import seaweed
from tests.server.doors.native.fuzzing.stock import Stock

_ROOT = Path(__file__).parents[4]
_CONFIG = Path(__file__).parent / "fuzzing" / "schemathesis.toml"
_SETTINGS = {"limits": "off", "free_disk_floor_bytes": "0", "part_size_bytes": "65536", "log_level": "warning"}


def test_every_operation_passes_every_check(tmp_path: Path) -> None:
    report = _fuzz(tmp_path, examples=5, seed=1)
    assert report["operations"]["tested"] == report["operations"]["total"] > 50
    assert {phase: run["status"] for phase, run in report["phases"].items()} == dict.fromkeys(
        ("examples", "coverage", "fuzzing", "stateful"), "success"
    )


@pytest.mark.thorough
def test_every_operation_passes_every_check_many_times(tmp_path: Path) -> None:
    _fuzz(tmp_path, examples=150, seed=random.randrange(2**32))


def test_no_check_is_switched_off_and_no_operation_left_out() -> None:
    config = tomllib.loads(_CONFIG.read_text())
    assert set(config) == {
        "hooks",
        "continue-on-failure",
        "request-timeout",
        "warnings",
        "checks",
        "generation",
        "auth",
        "operations",
    }
    assert config["warnings"] == {"fail-on": True}
    assert config["checks"] == {"max_response_time": 20}
    for operation in config["operations"]:
        assert set(operation) == {"include-operation-id", "checks"}
        assert set(operation["checks"]) == {"positive_data_acceptance"}
        assert set(operation["checks"]["positive_data_acceptance"]) == {"expected-statuses"}


def _fuzz(folder: Path, *, examples: int, seed: int) -> dict[str, Any]:
    """Run it against a server of its own; answers its report."""
    store = {**seaweed().settings(), "store_direct": "true"}  # so that there is something to sign links for
    with own_provider() as provider:
        known = {"oidc_issuer": provider.issuer, "oidc_client_id": CLIENT_ID, "oidc_client_secret": CLIENT_SECRET}
        server = start_server(folder / "data", port=None, **_SETTINGS, **store, **known)
        try:
            with closing(Stock(server.url, server.token)) as stock:
                stock.seed()
                _write_identities(folder / "identities.json", admin=server.token, outsider=stock.user("outsider"))
            done = _run(server, folder, "--max-examples", str(examples), "--seed", str(seed))
        finally:
            server.stop()
    assert done.returncode == 0, f"{done.stdout}\n{server.log[-5_000:]}"
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def _run(server: RunningServer, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(_ROOT),
        "STEELYARD_FUZZ_URL": server.url,
        "STEELYARD_FUZZ_TOKEN": server.token,
        "STEELYARD_FUZZ_AUTH": str(folder / "identities.json"),
    }
    report = ("--report", "json", "--report-json-path", str(folder / "report.json"))
    program = (sys.executable, "-m", "schemathesis.cli", "--config-file", str(_CONFIG))
    command = (*program, "run", f"{server.url}/openapi.json", "--checks", "all", *report, *options)
    return subprocess.run(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def _write_identities(path: Path, **tokens: str) -> None:
    """A Web Fuzzing Commons document: who may call, and how he shows it."""
    header = "Authorization"
    people = [{"name": n, "fixedHeaders": [{"name": header, "value": f"Bearer {t}"}]} for n, t in tokens.items()]
    path.write_text(json.dumps({"auth": people}))
