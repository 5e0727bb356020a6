"""The files of a deployment as their tools read them: compose and its variables, manifests, the Dockerfile."""

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


class MissingValue(Exception):
    """A variable that has to be given and was not: where compose would not start."""


def interpolate(found: Any, values: Mapping[str, str]) -> Any:
    """`${NAME}`, `${NAME:-default}` and `${NAME:?message}` in every text of a document, as compose fills them in."""
    if isinstance(found, dict):
        return {key: interpolate(value, values) for key, value in found.items()}
    if isinstance(found, list):
        return [interpolate(value, values) for value in found]
    return _VARIABLE.sub(partial(_value, values), found) if isinstance(found, str) else found


def _value(values: Mapping[str, str], found: re.Match[str]) -> str:
    name, mark, rest = found.groups()
    if values.get(name):
        return values[name]
    if mark != "-":
        raise MissingValue(f"{name}: {rest}")
    return str(rest)


def read_compose(values: Mapping[str, str]) -> dict[str, Any]:
    """compose.yaml with its variables filled in."""
    document = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    filled: dict[str, Any] = interpolate(document, values)
    return filled


def read_environment(path: Path) -> dict[str, str]:
    """The lines `NAME=value` of a file."""
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def filled_in() -> dict[str, str]:
    """deploy/example.env with a secret of its own for each empty value."""
    example = read_environment(DEPLOY / "example.env")
    return {name: value or secrets.token_hex(24) for name, value in example.items()}


def manifests() -> dict[str, dict[str, Any]]:
    """Every Kubernetes manifest by the name of its file; the kustomization is none."""
    paths = (path for path in sorted(KUBERNETES.glob("*.yaml")) if path.name != "kustomization.yaml")
    return {path.name: yaml.safe_load(path.read_text("utf-8")) for path in paths}


def instructions() -> Iterator[tuple[str, str]]:
    """The instructions of the Dockerfile and what follows each, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, rest.strip()


def exec_form(rest: str) -> list[str]:
    """The words of an instruction in exec form. Raises ValueError for the shell form."""
    words: list[str] = json.loads(rest)
    return words
