"""The page of a model: what it tells whom, whatever its publisher wrote, and commands that work as they stand."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest
from selectolax.lexbor import LexborHTMLParser

from tests.house import Person, RunningServer, start_server
from tests.house.people import path_of
from tests.server.doors.web.conftest import Visit
from tests.server.doors.web.visiting import HTML, Page, Visitor

WEIGHTS = b"\x02\0\0\0\0\0\0\0{}"
README = b"---\nlicense: mit\n---\n# A tiny model\n\nSee [how](docs/how.md) and ![curve](curve.png).\n"
ODD = "</script><b>x</b>\u202e\"'`{{ 7*7 }}"


def publish(person: Person, ref: str, **fields: object) -> str:
    """Publish a version with a card; answers `/org/name`."""
    files = {"README.md": README, "model.safetensors": WEIGHTS, **fields.pop("files", {})}  # type: ignore[dict-item]
    made = person.publish(ref, files, **fields)
    assert made.status_code == 201, made.text
    return "/" + ref.partition(":")[0]


def facts_of(page: Page) -> dict[str, str]:
    """The facts beside the card."""
    names = page.texts("section[aria-labelledby=about] dt")
    return dict(zip(names, page.texts("section[aria-labelledby=about] dd"), strict=True))


def _without_id(text: str) -> str:
    return re.sub(r"[0-9a-f]{32}", "", text)


# --- what it tells


def test_what_a_version_says_is_on_its_page(browser: Visitor, ada: Person) -> None:
    path = publish(
        ada, f"{ada.name}/tiny:1.0.0", summary="A tiny one", task="text-classification",
        task_categories=["text-classification"], license="mit", tags=["demo", "a b&c"], language=["en"],
        dataset_refs=["squad", {"name": "own data"}, {"rows": 3}], architecture="bert", base_model="google/bert",
        metrics={"accuracy": 0.91, "steps": 12_000, "note": "good"}, aliases=["production"],
    )  # fmt: skip
    page = browser.get(path)
    assert page.status == 200
    assert page.texts(".card h3") == ["A tiny model"]
    facts = facts_of(page)
    assert facts["Made for"] == facts["Tasks"] == "text-classification"
    assert (facts["Base model"], facts["Licence"], facts["Languages"]) == ("google/bert", "mit", "en")
    assert (facts["Datasets"], facts["Weights"], facts["Architecture"]) == ("squad own data", "safetensors", "bert")
    assert facts["Published"] == f"just now by {ada.name}"
    assert page.texts("section[aria-labelledby=metrics] tbody tr") == ["accuracy 0.91", "note good", "steps 12,000"]
    assert page.texts(".aliases li") == [f"production → points at 1.0.0 moved just now by {ada.name}"]
    assert page.links("section[aria-labelledby=about] .labels a") == [
        "/?task_categories=text-classification", "/?tags=demo", "/?tags=a%20b%26c",
    ]  # fmt: skip
    assert page.links("link[rel=alternate]") == [f"/api/v1{path_of(path[1:])}"]


def test_its_links_lead_to_what_is_there(browser: Visitor, ada: Person) -> None:
    path = publish(ada, f"{ada.name}/linked:1.0.0", files={"docs/how.md": b"So.", "curve.png": b"\x89PNG\r\n\x1a\n"})
    for ref in ("", "/v/1.0.0", "/v/%5E1"):
        page = browser.get(path + ref)
        links = {link for link in page.links("main a") if link.startswith("/")}
        assert len(links) > 8
        statuses = {link: browser.get(link).status for link in links}
        assert {link: status for link, status in statuses.items() if status != 200} == {}
        card = page.all(".card a")[0].attributes["href"] or ""
        assert card.endswith("/docs/how.md") and browser.get(card).status == 200
        image = page.all(".card img")[0].attributes["src"] or ""
        assert image.endswith("/curve.png?inline") and browser.get(image).status == 200


def test_every_way_to_name_a_version(browser: Visitor, ada: Person) -> None:
    path = publish(ada, f"{ada.name}/named:1.0.0", aliases=["production"])
    publish(ada, f"{ada.name}/named:2.0.0-rc.1+cu12")
    for ref, version in {"": "1.0.0", "/v/1.0.0": "1.0.0", "/v/production": "1.0.0", "/v/latest": "1.0.0",
                         "/v/%5E1": "1.0.0", "/v/2.0.0-rc.1+cu12": "2.0.0-rc.1+cu12"}.items():  # fmt: skip
        page = browser.get(path + ref)
        assert (page.status, page.texts(".badge.version")[0]) == (200, version)
    assert [browser.get(f"{path}/v/{ref}").status for ref in ("9.9.9", "staging", "%5E9")] == [404, 404, 404]
    assert [browser.get(f"{path}/v/{ref}").status for ref in ("%00", "%FF", "a%20b")] == [422, 422, 422]
    assert browser.get("/no one/x").status == 404


def test_a_base_model_here_is_led_to_by_those_who_may_see_it(visit: Visit, ada: Person, bob: Person) -> None:
    publish(bob, f"{bob.name}/base:1.0.0", is_public=True)
    path = publish(ada, f"{ada.name}/tuned:1.0.0", base_model=f"{bob.name}/base:1.0.0", is_public=True)
    link = "section[aria-labelledby=about] dd a[href^='/bob']"
    assert visit(ada).get(path).links(link) == [f"/{bob.name}/base/v/1.0.0"]
    bob.patch(f"{path_of(f'{bob.name}/base')}/visibility", {"is_public": False})
    for_outsiders = visit(bob).get(path)
    assert for_outsiders.links(link) == [f"/{bob.name}/base/v/1.0.0"], "bob sees his own"
    assert visit(ada).get(path).links(link) == [], "ada sees the name that she wrote, and no model"


def test_outsiders_are_not_told_who(visit: Visit, ada: Person, bob: Person) -> None:
    path = publish(ada, f"{ada.name}/open:1.0.0", is_public=True, aliases=["production"])
    page = visit(bob).get(path)
    assert facts_of(page)["Published"] == "just now"
    assert page.texts(".aliases li") == ["production → points at 1.0.0 moved just now"]
    assert "--bump" not in page.text()


def test_a_private_model_is_for_its_members(visit: Visit, ada: Person, bob: Person) -> None:
    path = publish(ada, f"{ada.name}/secret:1.0.0")
    hidden, missing = (_without_id(visit(bob).get(address).text()) for address in (path, f"{path}x"))
    assert hidden == missing.replace("secretx", "secret") and "no model" in hidden
    assert visit(None).get(path, follow=False).status == 303


def test_a_yanked_version_says_why(browser: Visitor, ada: Person) -> None:
    path = publish(ada, f"{ada.name}/yanked:1.0.0")
    ada.put(f"{path_of(path[1:])}/1.0.0/yank", {"reason": "wrong <b>tokenizer</b>"})
    assert "yanked just now : wrong <b>tokenizer</b>" in browser.get(f"{path}/v/1.0.0").text(".problem")
    assert "by aliases that point at it" in browser.get(f"{path}/v/1.0.0").text(".problem")
    page = browser.get(path)
    assert page.status == 200 and "All versions of this model were yanked" in page.text()
    assert f"{path}/v/1.0.0" in page.links("main a")


# --- hostile and missing


def test_whatever_is_written_is_only_text(browser: Visitor, ada: Person) -> None:
    fields = ("summary", "pretty_name", "task", "architecture", "license", "base_model", "size_category")
    path = publish(
        ada, f"{ada.name}/odd:1.0.0", **dict.fromkeys(fields, ODD), tags=[ODD], language=[ODD], task_categories=[ODD],
        dataset_refs=[ODD, {"name": ODD}], metrics={ODD: ODD}, framework=ODD, files={f"{ODD[:9]}.txt": b"x"},
    )  # fmt: skip
    page = browser.get(path)
    assert page.status == 200
    assert page.all("main b") == [] and [node.attributes.get("src") for node in page.all("script")][1:] == []
    assert "\u202e" not in page.response.text and page.text().count("U+202E") >= 12
    assert "7*7" in page.text() and "49" not in facts_of(page)["Weights"]
    assert page.all("[style], [onclick], [onerror]") == []


def test_a_version_without_a_card_says_how_to_add_one(visit: Visit, ada: Person, bob: Person) -> None:
    ada.publish(f"{ada.name}/bare:1.0.0", {"model.safetensors": WEIGHTS}, is_public=True)
    page = visit(ada).get(f"/{ada.name}/bare")
    assert "has no card" in page.text() and "--bump patch" in page.text()
    assert "--bump" not in visit(bob).get(f"/{ada.name}/bare").text()


def test_a_description_stands_in_for_the_card(browser: Visitor, ada: Person) -> None:
    ada.publish(f"{ada.name}/told:1.0.0", {"model.safetensors": WEIGHTS}, description="# Told\n<script>x</script>")
    page = browser.get(f"/{ada.name}/told")
    assert page.texts(".card h3") == ["Told"] and page.all(".card script") == []


def test_a_card_that_is_no_text_and_a_huge_one(browser: Visitor, ada: Person) -> None:
    publish(ada, f"{ada.name}/bytes:1.0.0", files={"README.md": os.urandom(4_000)})
    assert browser.get(f"/{ada.name}/bytes").status == 200
    publish(ada, f"{ada.name}/huge:1.0.0", files={"README.md": b"*a* [b](c) " * 500_000})
    page = browser.get(f"/{ada.name}/huge")
    assert "its end is not shown here" in page.text(".warning")


def test_a_model_without_a_version_shows_members_their_draft(visit: Visit, ada: Person, bob: Person) -> None:
    made = ada.request("POST", f"{str(ada.client.base_url).rstrip('/')}/api/repos/create", json={"name": "begun"})
    assert made.status_code == 200, made.text
    page = visit(ada).get(f"/{ada.name}/begun")
    assert page.status == 200 and "no version yet" in page.text() and "steelyard push" in page.text()
    lines = (
        '{"key":"header","value":{"summary":"x"}}\n'
        '{"key":"file","value":{"path":"a.txt","encoding":"utf-8","content":"x"}}\n'
    )
    root = str(ada.client.base_url).rstrip("/")
    committed = ada.request("POST", f"{root}/api/models/{ada.name}/begun/commit/main", content=lines.encode(),
                            headers={"Content-Type": "application/x-ndjson"})  # fmt: skip
    assert committed.status_code == 200, committed.text
    page = visit(ada).get(f"/{ada.name}/begun")
    assert f"/{ada.name}/begun/tree/main" in page.links("main a") and "hf repos tag create" in page.text()
    assert visit(bob).get(f"/{ada.name}/begun").status == 404


def test_a_draft_beside_versions_is_told_to_members(visit: Visit, ada: Person, bob: Person) -> None:
    assert ada.publish(f"{ada.name}/tiny:1.0.0", is_public=True).status_code == 201
    assert not visit(ada).get(f"/{ada.name}/tiny").all("main .warning")
    lines = (
        '{"key":"header","value":{"summary":"x"}}\n'
        '{"key":"file","value":{"path":"a.txt","encoding":"utf-8","content":"x"}}\n'
    )
    root = str(ada.client.base_url).rstrip("/")
    headers = {"Content-Type": "application/x-ndjson"}
    url = f"{root}/api/models/{ada.name}/tiny/commit/main"
    assert ada.request("POST", url, content=lines.encode(), headers=headers).status_code == 200
    page = visit(ada).get(f"/{ada.name}/tiny")
    assert f"/{ada.name}/tiny/tree/main" in page.links("main .warning a")
    assert not visit(bob).get(f"/{ada.name}/tiny").all("main .warning")


# --- downloads


def test_downloads_are_counted_and_drawn(browser: Visitor, ada: Person, bob: Person) -> None:
    path = publish(ada, f"{ada.name}/taken:1.0.0", is_public=True)
    publish(ada, f"{ada.name}/taken:1.1.0")
    assert browser.get(path).all(".downloads svg") == []
    for person, version in ((ada, "1.0.0"), (bob, "1.0.0"), (bob, "1.1.0"), (bob, "1.1.0")):
        assert person.get(f"{path_of(path[1:])}/{version}/files/model.safetensors").status_code == 200
    began = time.monotonic()
    while ada.get(f"{path_of(path[1:])}/versions/downloads").json()["total"] < 3:
        assert time.monotonic() - began < 10
        time.sleep(0.05)
    page = browser.get(f"{path}?days=90")
    assert page.texts("section[aria-labelledby=downloads] dd") == ["1", "3", "3"]
    assert [row.split()[1] for row in page.texts("section[aria-labelledby=downloads] tbody tr")] == ["3"]
    assert page.all(".downloads svg")[0].attributes["aria-label"]
    series = ada.get(f"{path_of(path[1:])}/versions/downloads?days=90").json()
    assert (len(series["days"]), series["days"][-1]["downloads"], series["days"][0]["downloads"]) == (90, 3, 0)
    assert ada.get(f"{path_of(path[1:])}/versions/downloads?days=1000").status_code == 422


# --- the commands, taken from the page and run

ODD_PATH = "folder/it's $(touch hacked) & large.bin"
_RUN = {
    "sh": ["bash", "-euo", "pipefail", "-c"],
    "python": [sys.executable, "-c"],
    "js": ["node", "--input-type=module", "-e"],
}


def _browser(server: RunningServer) -> httpx2.Client:
    headers = {"Accept": HTML, "Sec-Fetch-Site": "same-origin"}
    return httpx2.Client(base_url=server.url, headers=headers, follow_redirects=True)


def _publish_by_command(server: RunningServer, folder: Path, environment: dict[str, str], *options: str) -> None:
    source = folder / "source"
    (source / "folder").mkdir(parents=True)
    (source / "README.md").write_bytes(README)
    (source / "config.json").write_text("{}")
    (source / ODD_PATH).write_bytes(b"\0" * 300_000)
    push = ["push", str(source), "acme/tiny:1.2.0", "--alias", "production", *options]
    for words in (["org", "create", "acme"], push):
        subprocess.run([sys.executable, "-m", "steelyard", *words], check=True, env=environment, capture_output=True)


def _environment(folder: Path, **more: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("STEELYARD_", "HF_"))},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "STEELYARD_CONFIG": str(folder / "login.json"),
        "STEELYARD_CACHE": str(folder / "cache"),
        "HF_HOME": str(folder / "hub"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        **more,
    }


def _run_all(page: LexborHTMLParser, folder: Path, environment: dict[str, str], token: str) -> set[str]:
    """Run what the page says, but for what installs and what is not here. Answers by which clients."""
    ran: set[str] = set()
    for way in page.css("details.way"):
        name = (way.attributes["id"] or "").removeprefix("use-")
        for block in way.css("pre"):
            language, text = block.attributes["data-language"] or "", block.text()
            if text.startswith("pip install") or "transformers" in text or not shutil.which(_RUN[language][0]):
                continue
            if name == "containers":  # `tests/oci_clients` runs these, with stores of their own
                continue
            done = subprocess.run(
                [*_RUN[language], text], check=False, env=environment, cwd=folder, input=token,
                capture_output=True, text=True,
            )  # fmt: skip
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            ran.add(name)
        if name in ("steelyard", "python", "hf"):
            assert (folder / "tiny" / ODD_PATH).stat().st_size == 300_000
            shutil.rmtree(folder / "tiny")
    return ran


@pytest.mark.parametrize("ref", ["", "/v/%5E1"])
def test_the_commands_of_the_page_work_as_they_stand(server: RunningServer, tmp_path: Path, ref: str) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    environment = _environment(folder, STEELYARD_TOKEN=server.token)
    _publish_by_command(server, tmp_path, {**environment, "STEELYARD_URL": server.url})
    with _browser(server) as client:
        client.post("/-/login", data={"token": server.token, "next": "/"})
        page = LexborHTMLParser(client.get(f"/acme/tiny{ref}").text)
    assert {"steelyard", "python", "hf", "curl"} <= _run_all(page, folder, environment, server.token)
    assert (folder / ODD_PATH.rpartition("/")[2]).stat().st_size == 300_000
    assert not (folder / "hacked").exists()


def test_where_nobody_needs_a_token_the_commands_have_none(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data", anonymous_public="true")
    folder = tmp_path / "reader"
    folder.mkdir()
    try:
        given = _environment(folder, STEELYARD_URL=server.url, STEELYARD_TOKEN=server.token)
        _publish_by_command(server, tmp_path, given, "--public")
        with _browser(server) as client:
            page = LexborHTMLParser(client.get("/acme/tiny/v/production").text)
        assert {"steelyard", "python", "hf", "curl"} <= _run_all(page, folder, _environment(folder), "")
    finally:
        server.stop()
