"""Publishing a small model from a browser, as a browser sends it: multipart/form-data, without a script."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from steelyard.server.doors.web.org import receiving_files
from tests.house import Person, Registered
from tests.house.people import oid_of
from tests.house.registries import open_registered
from tests.server.doors.web.conftest import Visit
from tests.server.doors.web.visiting import HTML, Page, Visitor

WEIGHTS = b"\x02\0\0\0\0\0\0\0{}"
_LINE = "----ours7MA4YWxkTrZu0gW"
Chosen = Sequence[tuple[str, str, bytes]]  # field, file name, bytes


def _page(browser: Visitor, slug: str, **query: str) -> Page:
    asked = "&".join(f"{key}={value}" for key, value in query.items())
    return browser.get(f"/{slug}/-/upload?{asked}")


def _upload(browser: Visitor, slug: str, chosen: Chosen, *, follow: bool = True, **fields: str) -> Page:
    """Fill in the form, choose files, send it."""
    page = _page(browser, slug)
    form = page.form(f"/{slug}/-/upload")
    assert form.attributes["enctype"] == "multipart/form-data"
    given = page.fields(f"/{slug}/-/upload")
    sent = {name: value for name, value in given.items() if name not in ("files", "folder")} | fields
    response = browser.client.post(
        form.attributes["action"] or "",
        content=_encoded(sent, chosen or [("files", "", b"")]),
        headers={
            "Accept": HTML,
            "Sec-Fetch-Site": "same-origin",
            "Content-Type": f"multipart/form-data; boundary={_LINE}",
        },
        follow_redirects=follow,
    )
    return Page(response)


def _encoded(fields: dict[str, str], chosen: Chosen) -> bytes:
    """As browsers do it: names as they are, but for quotes and ends of lines."""
    escaped = {ord('"'): "%22", ord("\r"): "%0D", ord("\n"): "%0A"}
    parts = [(f'name="{name}"', value.encode()) for name, value in fields.items()]
    parts += [(f'name="{field}"; filename="{name.translate(escaped)}"', data) for field, name, data in chosen]
    lines = [f"--{_LINE}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data for head, data in parts]
    return b"\r\n".join([*lines, f"--{_LINE}--\r\n".encode()])


def _detail(person: Person, ref: str) -> dict[str, Any]:
    model, version = ref.split(":")
    org, name = model.split("/")
    answered = person.get(f"/org/{org}/models/{name}/{version}")
    assert answered.status_code == 200, answered.text
    return dict(answered.json())


def _held(registered: Registered) -> int:
    """How many things stand in the store, staged ones too."""
    return len(list(registered.client.app.state.registry.store.scan()))  # type: ignore[attr-defined]


def test_files_become_a_version(browser: Visitor, ada: Person) -> None:
    chosen = [("files", "model.safetensors", WEIGHTS), ("files", "config.json", b'{"a": 1}')]
    page = _upload(
        browser, ada.name, chosen, name="tiny", version="1.0.0", summary="Ein Süßes\n", license="mit", follow=False
    )
    assert (page.status, page.response.headers["location"]) == (303, f"/{ada.name}/tiny/v/1.0.0")
    made = _detail(ada, f"{ada.name}/tiny:1.0.0")
    assert made["artifacts"] == {name: oid_of(data) for _, name, data in chosen}
    assert (made["summary"], made["license"], made["framework"], made["is_public"]) == (
        "Ein Süßes", "mit", "safetensors", False
    )  # fmt: skip
    assert made["origin"]["registry"]["via"] == "web"
    got = ada.get(f"/org/{ada.name}/models/tiny/1.0.0/files/config.json")
    assert got.content == b'{"a": 1}'


def test_a_folder_goes_without_its_own_name_and_without_what_is_never_meant(browser: Visitor, ada: Person) -> None:
    chosen = [
        ("folder", f"my model/{path}", path.encode())
        for path in ("a.txt", "sub/b.txt", ".git/config", "sub/.DS_Store", ".cache/huggingface/x", "__pycache__/y.pyc")
    ]
    _upload(browser, ada.name, [*chosen, ("files", ".gitattributes", b"c")], name="tree", version="1.0.0")
    assert set(_detail(ada, f"{ada.name}/tree:1.0.0")["artifacts"]) == {"a.txt", "sub/b.txt", ".gitattributes"}


def test_large_empty_equal_and_oddly_named_files_arrive_as_they_are(browser: Visitor, ada: Person) -> None:
    large = bytes(range(256)) * 12_000 + b"\r\n--end"
    files = {"large.bin": large, "again.bin": large, "empty": b"", "süß/ф 文.txt": b"--", 'quo"ted': b"\r\n"}
    _upload(browser, ada.name, [("files", name, data) for name, data in files.items()], name="odd", version="1.0.0")
    made = _detail(ada, f"{ada.name}/odd:1.0.0")
    assert made["artifacts"] == {name: oid_of(data) for name, data in files.items()}
    assert made["sizes"]["large.bin"] == len(large)
    assert ada.get(f"/org/{ada.name}/models/odd/1.0.0/files/again.bin").content == large


def test_more_files_than_are_kept_at_once(browser: Visitor, ada: Person, registered: Registered) -> None:
    chosen = [("files", f"{number}.txt", str(number % 7).encode()) for number in range(120)]
    _upload(browser, ada.name, chosen, name="many", version="1.0.0")
    assert len(_detail(ada, f"{ada.name}/many:1.0.0")["artifacts"]) == 120
    assert _staged(registered) == []


def _staged(registered: Registered) -> list[str]:
    store = registered.client.app.state.registry.store  # type: ignore[attr-defined]
    return [name.name for name in store.scan() if name.kind == "stage"]


def test_a_readme_says_what_the_fields_leave_out(browser: Visitor, ada: Person) -> None:
    readme = b"---\nlicense: mit\nsummary: from the card\ntags: [one]\nmetrics: {accuracy: 0.5}\n---\n# Tiny\n"
    _upload(browser, ada.name, [("files", "README.md", readme)], name="card", version="1.0.0", summary="mine")
    made = _detail(ada, f"{ada.name}/card:1.0.0")
    assert (made["summary"], made["license"], made["tags"], made["metrics"]) == (
        "mine", "mit", ["one"], {"accuracy": 0.5}
    )  # fmt: skip
    page = _upload(browser, ada.name, [("files", "README.md", b"---\na: [\n---\n")], name="card", version="2.0.0")
    assert page.status == 422
    assert "README.md cannot be read: line" in page.text()


def test_the_next_version_is_suggested(browser: Visitor, ada: Person) -> None:
    ada.publish(f"{ada.name}/tiny:1.2.3")
    fields = _page(browser, ada.name, name="tiny", summary="<b>").fields(f"/{ada.name}/-/upload")
    assert (fields["name"], fields["version"], fields["summary"]) == ("tiny", "1.2.4", "<b>")
    assert _page(browser, ada.name, name="new").fields(f"/{ada.name}/-/upload")["version"] == "1.0.0"
    options = _page(browser, ada.name).all("#own-models option")
    assert [(o.attributes["value"], o.attributes["data-following"]) for o in options] == [("tiny", "1.2.4")]


def test_the_same_again_is_no_new_version_and_another_no_old_one(browser: Visitor, ada: Person) -> None:
    fields: dict[str, Any] = {"name": "twice", "version": "1.0.0"}
    for notice in (f"{ada.name}/twice:1.0.0 is published.", f"{ada.name}/twice:1.0.0 was there already, the same."):
        assert _upload(browser, ada.name, [("files", "a", b"1")], follow=False, **fields).status == 303
        assert browser.get("/-/me").text(".notice") == notice
    other = _upload(browser, ada.name, [("files", "a", b"2")], **fields)
    assert other.status == 409
    assert "versions never change" in other.text()
    assert _detail(ada, f"{ada.name}/twice:1.0.0")["artifacts"] == {"a": oid_of(b"1")}


# --- what is refused


HOSTILE = (
    "../up.txt", "/etc/passwd", "a\\b", "CON", "nul.txt", "a//b", "dot.", "x\x01y", "x\ry", "..", "n" * 256,
    "<img src=x onerror=alert(1)>\x02",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused_and_harmless(
    browser: Visitor, ada: Person, registered: Registered, name: str
) -> None:
    kept = _held(registered)
    page = _upload(browser, ada.name, [("files", name, b"x"), ("files", "late", b"y")], name="evil", version="1.0.0")
    assert page.status == 422
    assert "Nothing was published" in page.text()
    assert page.all("main img") == []
    assert ada.get(f"/org/{ada.name}/models/evil").status_code == 404
    assert _held(registered) == kept


@pytest.mark.parametrize(
    ("names", "why"),
    [(("A.txt", "a.txt"), "only in case"), (("a", "a/b"), "below"), (("same", "same"), "two files")],
)
def test_names_that_clash_are_refused(browser: Visitor, ada: Person, names: Sequence[str], why: str) -> None:
    page = _upload(browser, ada.name, [("files", name, b"x") for name in names], name="clash", version="1.0.0")
    assert page.status == 422
    assert why in page.text()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"name": "a b", "version": "1.0.0"}, "Model name:"),
        ({"name": "ok", "version": "one"}, "Version:"),
        ({"name": "ok", "version": "1.0.0", "summary": "s" * 2_001}, "Summary:"),
        ({"name": "ok", "version": "1.0.0", "license": "a\0b"}, "Licence:"),
    ],
)
def test_fields_that_cannot_be_are_named(browser: Visitor, ada: Person, fields: dict[str, Any], why: str) -> None:
    page = _upload(browser, ada.name, [("files", "a", b"1")], **fields)
    assert page.status == 422
    assert why in page.text()


def test_no_file_at_all(browser: Visitor, ada: Person) -> None:
    page = _upload(browser, ada.name, [], name="none", version="1.0.0")
    assert (page.status, "choose one at least" in page.text()) == (422, True)


def test_too_much_is_refused_and_leads_to_the_client(
    browser: Visitor, ada: Person, registered: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving_files, "MOST_BYTES", 100_000)
    monkeypatch.setattr(receiving_files, "_MOST_FRAMING_BYTES", 10_000)
    page = _upload(browser, ada.name, [("files", "a", bytes(120_000))], name="big", version="1.0.0")
    assert page.status == 413
    assert "steelyard push" in page.text()
    monkeypatch.setattr(receiving_files, "MOST_FILES", 3)
    page = _upload(browser, ada.name, [("files", str(n), b"x") for n in range(4)], name="big", version="1.0.0")
    assert (page.status, "3 files" in page.text()) == (413, True)
    assert _staged(registered) == []
    assert ada.get(f"/org/{ada.name}/models/big").status_code == 404


def test_the_quota_and_the_largest_file_hold_here_too(tmp_path: Path) -> None:
    with open_registered(data=tmp_path / "data", limits="off", quota_org_bytes=1_000, max_file_bytes=600) as small:
        ada = small.user("ada")
        browser = Visitor(small).sign_in(ada)
        assert _upload(browser, "ada", [("files", "a", bytes(601))], name="q", version="1.0.0").status == 413
        page = _upload(
            browser, "ada", [("files", "a", bytes(550)), ("files", "b", b"1" * 550)], name="q", version="1.0.0"
        )
        assert (page.status, "quota" in page.text()) == (413, True)
        assert ada.get("/org/ada/models/q").status_code == 404


# --- who may, and from where


def test_only_who_may_publish_gets_the_form_or_sends_it(
    registered: Registered, ada: Person, bob: Person, visit: Visit
) -> None:
    ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "reader"})
    stranger = registered.user(f"stranger-{ada.name}")
    path = f"/{ada.name}/-/upload"
    for person, status in ((bob, 403), (stranger, 404)):
        browser = visit(person)
        assert browser.get(path).status == status
        ticket = browser.get("/-/me").fields("/-/logout")["csrf"]
        sent = browser.client.post(
            f"{path}?csrf={ticket}", files={"files": ("a", b"1")}, data={"name": "x", "version": "1.0.0"}
        )
        assert sent.status_code == status
    assert ada.get(f"/org/{ada.name}/models/x").status_code == 404
    signed_out = Visitor(registered)
    assert signed_out.get(path).path.startswith("/-/login?next=")
    assert signed_out.client.post(path, files={"files": ("a", b"1")}, headers={"Accept": HTML}).status_code == 401


def test_the_ticket_is_looked_at_before_the_body(browser: Visitor, ada: Person) -> None:
    ticket = _page(browser, ada.name).fields("/-/logout")["csrf"]

    def body() -> Iterator[bytes]:
        yield b"--x\r\n"
        raise AssertionError("the body was read")

    path = f"/{ada.name}/-/upload"
    inside = browser.client.post(path, data={"csrf": ticket}, files={"files": ("a", b"1")})
    assert inside.status_code == 403
    forged = browser.client.post(f"{path}?csrf={ticket[:-3]}AAA", files={"files": ("a", b"1")})
    assert forged.status_code == 403
    foreign = browser.client.post(
        f"{path}?csrf={ticket}", files={"files": ("a", b"1")}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert foreign.status_code == 403


BROKEN = {
    "no boundary": ("multipart/form-data", b""),
    "another kind": ("application/x-www-form-urlencoded", b"name=x"),
    "an endless boundary": ("multipart/form-data; boundary=" + "b" * 300, b""),
    "nothing": ("multipart/form-data; boundary=x", b""),
    "no end": ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nv'),
    "no name": ("multipart/form-data; boundary=x", b"--x\r\nA: b\r\n\r\nv\r\n--x--\r\n"),
    "no UTF-8": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="\xff"\r\n\r\nv\r\n--x--\r\n',
    ),
    "a long header": ("multipart/form-data; boundary=x", b"--x\r\nA: " + b"h" * 10_000 + b"\r\n\r\nv\r\n--x--\r\n"),
    "many headers": ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: b\r\n" * 20 + b"\r\nv\r\n--x--\r\n"),
    "not at all": ("multipart/form-data; boundary=x", b"\0" * 1_000),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_form_is_refused(browser: Visitor, ada: Person, registered: Registered, what: str) -> None:
    ticket = _page(browser, ada.name).fields("/-/logout")["csrf"]
    kind, body = BROKEN[what]
    answered = browser.client.post(
        f"/{ada.name}/-/upload?csrf={ticket}", content=body, headers={"Content-Type": kind, "Accept": HTML}
    )
    assert answered.status_code == 400, answered.text
    assert _staged(registered) == []


def test_a_crowd_of_parts_is_refused(browser: Visitor, ada: Person) -> None:
    ticket = _page(browser, ada.name).fields("/-/logout")["csrf"]
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename=""\r\n\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    path = f"/{ada.name}/-/upload?csrf={ticket}"
    assert browser.client.post(path, content=part * 2_000 + b"--x--\r\n", headers=headers).status_code == 413
