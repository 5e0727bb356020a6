"""The lineage of a version by HTTP: what `core.descent` and `core.sharing` find, in words of the API."""

from tests.house import Registered
from tests.server.doors.native.models import ModelAt

WEIGHTS = b"weights" * 100


def test_a_lineage_is_told_both_ways(registered: Registered) -> None:
    owner = registered.org("acme")
    base, tuned = ModelAt(owner, "acme/Base"), ModelAt(owner, "acme/tuned")
    base.publish("1.2.0", files={"model.bin": WEIGHTS, "README.md": b"base"})
    derived = [{"name": "acme/base", "version": "1.2.0", "relation": "finetune"}]
    tuned.publish("1.0.0", files={"model.bin": WEIGHTS, "README.md": b"tune"}, origin={"derived_from": derived})
    down, up = base.get("/latest/lineage").json(), tuned.get("/%5E1/lineage").json()
    assert (up["name"], up["version"], down["name"], down["version"]) == ("acme/tuned", "1.0.0", "acme/Base", "1.2.0")
    assert [(node["name"], node["version"], node["step"], node["kind"]) for node in up["nodes"]] == [
        ("acme/tuned", "1.0.0", 0, "version"), ("acme/Base", "1.2.0", -1, "version"),
    ]  # fmt: skip
    assert up["edges"] == [{"parent": 1, "child": 0, "kind": "derived_from", "relation": "finetune"}]
    assert down["edges"] == [{"parent": 0, "child": 1, "kind": "derived_from", "relation": "finetune"}]
    assert (up["more_above"], up["more_below"], up["distinct_bytes"]) == (False, False, len(WEIGHTS) + 4)
    share = round(len(WEIGHTS) / (len(WEIGHTS) + 4), 4)
    same = {"name": "acme/Base", "version": "1.2.0", "shared_bytes": len(WEIGHTS), "share": share}
    assert up["shares_with"] == [same]
    assert up["origin"]["derived_from"] == derived


def test_strangers_are_told_of_nothing_that_they_may_not_see(registered: Registered) -> None:
    owner, eve = registered.org("acme"), registered.user("eve")
    base, tuned, tip = (ModelAt(owner, f"acme/{name}") for name in ("base", "tuned", "tip"))
    base.publish("1.0.0", files={"model.bin": WEIGHTS})
    tuned.publish("1.0.0", files={"model.bin": WEIGHTS}, base_model="acme/base", is_public=True)
    tip.publish("1.0.0", files={"model.bin": WEIGHTS}, base_model="acme/tuned")
    told = tuned.seen_by(eve).get("/1.0.0/lineage")
    shown = told.json()
    assert (len(shown["nodes"]), shown["edges"], shown["shares_with"], shown["base_model"]) == (1, [], [], None)
    assert "acme/base" not in told.text and "acme/tip" not in told.text and "acme-owner" not in told.text
    assert len(tuned.get("/1.0.0/lineage").json()["nodes"]) == 3
    assert base.seen_by(eve).get("/1.0.0/lineage").status_code == 404


def test_what_leads_to_no_version_has_no_lineage(registered: Registered) -> None:
    tiny = ModelAt(registered.org("acme"), "acme/tiny")
    tiny.publish("1.0.0")
    assert [tiny.get(f"/{ref}/lineage").status_code for ref in ("2.0.0", "production", "bad%20ref")] == [404, 404, 422]
