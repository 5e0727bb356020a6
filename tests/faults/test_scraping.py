"""The page of metrics, while what the server stands on is silent or gone: it answers in time, and says so."""

import time

import pytest

from tests.faults.operations import Scene
from tests.faults.site import NOTICED_SECONDS, RECOVERY_SECONDS, Part, Site, wait_until
from tests.house.scraped import Scraped, read_page
from tests.house.wires import Fault

SCRAPED_WITHIN_SECONDS = 4.0  # a second for the parts, and plenty for two busy processors


def scrape_in_time(scene: Scene) -> Scraped:
    """The page, as a program on the same machine gets it."""
    began = time.monotonic()
    answered = scene.client.get("/metrics")
    assert time.monotonic() - began < SCRAPED_WITHIN_SECONDS
    assert answered.status_code == 200, answered.text
    return read_page(answered.text)


def is_up(page: Scraped, part: Part) -> bool:
    """What it says of a part."""
    if part == "limits":
        return page.value("steelyard_rate_limit_counts_alone") == 0
    return page.value("steelyard_part_up", part=part) == 1


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["silent", "refuse", "cut"])
@pytest.mark.parametrize("part", ["database", "store", "limits"])
def test_a_scrape_says_which_part_is_down(site: Site, scene: Scene, part: Part, kind: str) -> None:
    others = {"database", "store", "limits"} - {part}
    assert is_up(scrape_in_time(scene), part)
    with site.broken(part, Fault(kind)):  # type: ignore[arg-type]
        deadline = time.monotonic() + NOTICED_SECONDS
        while is_up(page := scrape_in_time(scene), part):
            scene.ada.get("/org/ada/models")  # Valkey is asked for requests only
            assert time.monotonic() < deadline, f"the page says that the {part} is up"
        assert all(is_up(page, other) for other in others)  # type: ignore[arg-type]
        assert page.has("steelyard_jobs") is (part != "database")
    wait_until(lambda: is_up(_asked(scene), part), f"the page says that the {part} is down still", RECOVERY_SECONDS)


def _asked(scene: Scene) -> Scraped:
    scene.ada.get("/org/ada/models")
    return scrape_in_time(scene)


def test_failures_are_counted_by_part(site: Site, scene: Scene) -> None:
    before = scrape_in_time(scene)
    with site.broken("database", Fault("silent")):
        assert scene.ada.get("/org/ada/models").status_code == 504
    data = scene.random_bytes(100)
    link = scene.ada.offer(scene.fresh(), data).json()["objects"][0]["actions"]["upload"]["href"]
    with site.broken("store", Fault("refuse")):
        assert scene.client.put(link, content=data).status_code in (502, 504)
    after = scrape_in_time(scene)
    for name in ("steelyard_database_failures_total", "steelyard_store_failures_total"):
        assert after.value(name) > before.value(name)
    assert after.value("steelyard_http_requests_total", status="504") > 0
