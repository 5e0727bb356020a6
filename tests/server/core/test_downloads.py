"""Counting downloads: nothing noted is lost when the database cannot be written just then, and days add up."""

import time
from datetime import date

import pytest
from sqlalchemy import insert, select

from steelyard.server.core import downloads, models
from steelyard.server.db.tables import DownloadHit, Model, Version
from steelyard.server.errors import DatabaseTimeout
from steelyard.server.names import ModelName
from tests.conftest import MakeRegistered
from tests.house.people import path_of
from tests.house.registries import somebody_writing
from tests.server.core.families import Families


def test_counts_that_could_not_be_written_are_written_later(make_registered: MakeRegistered) -> None:
    registered = make_registered(database_timeout_seconds=0.05)
    registry = registered.client.app.state.registry  # type: ignore[attr-defined]
    ada = registered.user("ada")
    ada.publish("ada/tiny:1.0.0")
    path = f"{path_of('ada/tiny')}/1.0.0"
    with somebody_writing(registered):
        assert ada.get(f"{path}/files/model.safetensors").status_code == 200, "serving a file waits for no writer"
        with pytest.raises(DatabaseTimeout):
            for _ in range(100):  # the background may be trying just now, with what was noted in its hands
                registry.usage.write_down(registry.database)
                time.sleep(0.01)
    began = time.monotonic()
    while ada.get(path).json()["download_count"] == 0:
        assert time.monotonic() - began < 5
        time.sleep(0.05)
    assert ada.get(path).json()["download_count"] == 1


TODAY = date(2026, 3, 1)
_TODAY_HOURS = (TODAY - date(1970, 1, 1)).days * 24


def _hit(families: Families, name: str, version: str, *hours_before_midnight: int) -> None:
    """Somebody took a version, so many hours before the day begins; negative ones are in it."""
    chosen = select(Version.id).join(Model, Model.id == Version.model_id)
    with families.database.write() as session:
        version_id = session.scalars(chosen.where(Model.name_key == name, Version.version == version)).one()
        hits = [(f"user:{number}", _TODAY_HOURS - hours) for number, hours in enumerate(hours_before_midnight)]
        session.execute(
            insert(DownloadHit), [{"version_id": version_id, "principal": who, "hour": hour} for who, hour in hits]
        )


def _days(families: Families, name: str, days: int) -> dict[str, int]:
    with families.database.read() as session:
        found = models.get_model(session, families.member("acme"), "acme", ModelName.parse(name))
        counted = downloads.list_days(session, found, days=days, today=TODAY)
    return {each.day.isoformat(): each.downloads for each in counted}


def test_days_have_what_all_versions_of_the_model_were_taken(families: Families) -> None:
    for ref in ("acme/tiny:1.0.0", "acme/tiny:1.1.0", "acme/other:1.0.0"):
        families.publish(ref)
    _hit(families, "tiny", "1.0.0", 0, -23, 1, 24, 25)
    _hit(families, "tiny", "1.1.0", -1, 48, 49)
    _hit(families, "other", "1.0.0", 0, 1)
    expected = {"2026-02-26": 1, "2026-02-27": 2, "2026-02-28": 2, "2026-03-01": 3}
    assert _days(families, "tiny", 4) == expected
    assert _days(families, "tiny", 2) == {"2026-02-28": 2, "2026-03-01": 3}
    assert _days(families, "other", 1) == {"2026-03-01": 1}
    assert len(_days(families, "tiny", 10_000)) == downloads.MOST_DAYS, "a window is bounded"
