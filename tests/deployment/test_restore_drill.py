"""The drill of docs/operations.md: a registry on PostgreSQL and S3, kept by the engines' own tools, comes back whole;
and what the order of the two copies is worth."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from steelyard.cli import main
from tests.house import Person
from tests.house.postgres import _program, postgres
from tests.house.registries import open_registered
from tests.house.seaweed import seaweed

pytestmark = pytest.mark.only("sqlite", "disk")  # it brings engines of its own
NAMES = [f"ada/tiny:1.{minor}.0" for minor in range(4)]


@pytest.fixture
def place() -> dict[str, str]:
    """A database and a prefix that nobody used."""
    return {"database": postgres().fresh(), **seaweed().settings(), "store_direct": "false", "gc_interval_seconds": "0"}


@pytest.fixture
def ada(place: dict[str, str], tmp_path: Path) -> Iterator[Person]:
    """Somebody who has published a few versions there."""
    with open_registered(data=tmp_path / "data", **place) as registered:
        somebody = registered.user("ada")
        for name in NAMES:
            assert somebody.publish(name).status_code == 201
        yield somebody


def dump(place: dict[str, str], file: Path) -> None:
    """The database at one moment."""
    command = [_program("pg_dump"), "--format=custom", f"--file={file}", place["database"]]
    subprocess.run(command, check=True, capture_output=True)


def copy_bytes(place: dict[str, str]) -> str:
    """What is below `blobs/` now, beside the original; answers where."""
    bucket, _, prefix = place["store"].removeprefix("s3://").partition("/")
    other = seaweed().fresh_url()
    target = other.removeprefix(f"s3://{bucket}/")
    with closing(seaweed().client()) as client:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/blobs/"):
            for found in page.get("Contents", []):
                key = found["Key"]
                client.copy_object(Bucket=bucket, Key=key.replace(prefix, target, 1), CopySource=f"{bucket}/{key}")
    return other


def restore(place: dict[str, str], file: Path, store: str) -> dict[str, str]:
    """A database of its own from the dump, over that copy of the bytes."""
    database = postgres().fresh(migrated=False)
    command = [_program("pg_restore"), "--no-owner", "--exit-on-error", f"--dbname={database}", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    return {**place, "database": database, "store": store}


def admin(place: dict[str, str], *words: str) -> tuple[int, dict[str, object]]:
    """`steelyard admin …` there: its exit code and its answer."""
    environment = {f"STEELYARD_{name.upper()}": value for name, value in place.items()}
    done = CliRunner().invoke(main, ["admin", *words, "--json"], env=environment)
    assert done.stdout, f"{done.stderr}{done.exception!r}"
    return done.exit_code, json.loads(done.stdout)


def read_all(place: dict[str, str], token: str, data: Path) -> list[bytes]:
    """The weights of every version, as a caller gets them."""
    with open_registered(data=data, **place) as registered:
        reader = Person(registered.client, "ada", token)
        numbers = (name.partition(":")[2] for name in NAMES)
        return [reader.get(f"/org/ada/models/tiny/{number}/files/model.safetensors").content for number in numbers]


def test_database_first_and_then_the_bytes_comes_back_whole(ada: Person, place: dict[str, str], tmp_path: Path) -> None:
    dump(place, tmp_path / "db.dump")
    # Life goes on before the bytes are copied: something comes, something is deleted, a collector passes.
    assert ada.publish("ada/tiny:2.0.0").status_code == 201
    assert ada.delete("/org/ada/models/tiny/1.0.0").status_code in (200, 204)
    assert admin(place, "gc")[0] == 0
    there = restore(place, tmp_path / "db.dump", copy_bytes(place))
    code, found = admin(there, "check")
    assert (code, found["sound"]) == (0, True)
    assert ada.token
    expected = [b"weights of " + name.encode() for name in NAMES]
    assert read_all(there, ada.token, tmp_path / "restored") == expected


def test_bytes_first_would_lose_what_came_between(ada: Person, place: dict[str, str], tmp_path: Path) -> None:
    store = copy_bytes(place)
    assert ada.publish("ada/tiny:2.0.0").status_code == 201
    dump(place, tmp_path / "db.dump")
    code, found = admin(restore(place, tmp_path / "db.dump", store), "check")
    assert (code, found["sound"]) == (1, False)


def test_a_grace_shorter_than_the_copy_would_lose_what_was_deleted(
    ada: Person, place: dict[str, str], tmp_path: Path
) -> None:
    dump(place, tmp_path / "db.dump")
    assert ada.delete("/org/ada/models/tiny/1.0.0").status_code in (200, 204)
    assert admin(place, "gc", "--grace-seconds", "0")[0] == 0
    code, found = admin(restore(place, tmp_path / "db.dump", copy_bytes(place)), "check")
    assert (code, found["sound"]) == (1, False)


def test_a_lost_bucket_is_filled_again_by_who_has_the_bytes(ada: Person, place: dict[str, str], tmp_path: Path) -> None:
    there = {**place, "store": seaweed().fresh_url()}
    assert admin(there, "check")[0] == 1
    with open_registered(data=tmp_path / "again", **there) as registered:
        again = Person(registered.client, "ada", ada.token)
        for name in NAMES:
            assert again.publish(name).status_code == 200  # the same version: nothing changes but its bytes
    assert admin(there, "check")[1]["sound"] is True
