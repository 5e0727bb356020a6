"""What a version was made from and what was made from it, as far as a caller may know."""

import pytest
from sqlalchemy import select

from steelyard.server.core.access import Actor
from steelyard.server.core.lineage import descent
from steelyard.server.core.lineage.descent import Node, web_url
from steelyard.server.core.lineage.origins import Claim, claims_of
from steelyard.server.db.migrate import downgrade, migrate
from steelyard.server.db.tables import VersionParent
from tests.server.core.families import STRANGER, Families, name_of, names_of


def finetune(name: str, version: str | None = None) -> dict[str, str | None]:
    return {"name": name, "version": version, "relation": "finetune"}


# --- what a version says


def test_every_documented_shape_of_a_parent_is_read() -> None:
    origin = {
        "derived_from": [
            {"name": "acme/Base", "version": "1.2.0", "relation": "merge"},
            {"name": "acme/other:2.0.0"},
            {"name": "acme/third@main"},
            {"name": "not a model", "relation": 7},
            {"version": "1.0.0"},
            "acme/bare",
            None,
            17,
        ]
    }
    assert claims_of(None, origin) == [
        Claim("acme/Base", "acme/base", "1.2.0", "1.2.0", "merge"),
        Claim("acme/other:2.0.0", "acme/other", "2.0.0", "2.0.0"),
        Claim("acme/third@main", "acme/third", "", "main"),
        Claim("not a model", ""),
        Claim("acme/bare", "acme/bare"),
    ]


@pytest.mark.parametrize("derived", [None, {}, "acme/base", 3, [[]], [{"name": {"a": "b/c"}}]])
def test_what_is_no_list_of_parents_says_nothing(derived: object) -> None:
    assert claims_of(None, {"derived_from": derived}) == []


@pytest.mark.parametrize("base", ["acme/base", "ACME/Base", " acme/base "])
def test_a_base_model_that_stands_among_the_parents_is_the_same(base: str) -> None:
    [claim] = claims_of(base, {"derived_from": [finetune("acme/base", "1.0.0")]})
    assert (claim.number, claim.kinds) == ("1.0.0", ("derived_from", "base_model"))


def test_a_base_model_of_another_version_is_another() -> None:
    claims = claims_of("acme/base:2.0.0", {"derived_from": [finetune("acme/base", "1.0.0")]})
    assert [(claim.number, claim.kinds) for claim in claims] == [
        ("1.0.0", ("derived_from",)),
        ("2.0.0", ("base_model",)),
    ]


# --- up and down


def test_a_line_is_seen_from_each_of_its_ends(families: Families) -> None:
    families.publish("acme/base:1.0.0")
    families.publish("acme/base:2.0.0")
    families.publish("acme/mid:1.0.0", finetune("acme/base", "1.0.0"))
    families.publish("acme/tip:1.0.0", base="acme/mid")
    above, below = "acme/mid:1.0.0 <- acme/base:1.0.0 (finetune)", "acme/tip:1.0.0 <- acme/mid:1.0.0 (base_model)"
    assert families.edges("acme/base:1.0.0") == families.edges("acme/mid:1.0.0") == {above, below}
    assert families.edges("acme/base:2.0.0") == set(), "another version was named"
    unsaid = {"acme/tip:1.0.0 <- acme/mid (base_model)", "acme/mid <- acme/base:1.0.0 (finetune)"}
    assert families.edges("acme/tip:1.0.0") == unsaid, "which version of it, it did not say: the latest one tells"


def test_versions_of_one_model_stand_in_line(families: Families) -> None:
    families.publish("acme/m:1.0.0")
    for number in (2, 3, 4):
        families.publish(f"acme/m:{number}.0.0", finetune("acme/m", f"{number - 1}.0.0"))
    line = {f"acme/m:{number}.0.0 <- acme/m:{number - 1}.0.0 (finetune)" for number in (2, 3, 4)}
    for number in (1, 2, 3, 4):
        seen = families.lineage(f"acme/m:{number}.0.0")
        assert families.edges(f"acme/m:{number}.0.0") == line
        assert {node.version: node.step for node in seen.nodes} == {f"{n}.0.0": n - number for n in (1, 2, 3, 4)}


def test_versions_that_say_the_same_stand_together_as_the_newest(families: Families) -> None:
    families.publish("acme/base:1.0.0")
    for number in ("1.0.0", "1.1.0", "1.2.0"):
        families.publish(f"acme/child:{number}", "acme/base")
    families.publish("acme/grandchild:1.0.0", finetune("acme/child", "1.0.0"))
    seen = families.lineage("acme/base:1.0.0")
    [child] = [node for node in seen.nodes if node.name == "acme/child"]
    assert (child.version, child.versions) == ("1.2.0", 3)
    assert "acme/grandchild:1.0.0 <- acme/child:1.2.0 (finetune)" in families.edges("acme/base:1.0.0")


@pytest.mark.parametrize("said", ["acme/loop", "acme/loop:1.0.0", "acme/loop:production"])
def test_what_is_made_from_itself_says_nothing(families: Families, said: str) -> None:
    families.publish("acme/loop:1.0.0", said, base=said)
    families.publish("acme/loop:1.0.1")
    assert families.edges("acme/loop:1.0.0") == families.edges("acme/loop:1.0.1") == set()


def test_models_that_name_each_other_are_a_circle(families: Families) -> None:
    families.publish("acme/hen:1.0.0")
    families.publish("acme/egg:1.0.0", finetune("acme/hen", "2.0.0"))
    families.publish("acme/hen:2.0.0", finetune("acme/egg", "1.0.0"))
    circle = {"acme/egg:1.0.0 <- acme/hen:2.0.0 (finetune)", "acme/hen:2.0.0 <- acme/egg:1.0.0 (finetune)"}
    for ref in ("acme/hen:2.0.0", "acme/egg:1.0.0"):
        assert families.edges(ref) == circle
        seen = families.lineage(ref)
        assert not seen.more_above and not seen.more_below


def test_what_is_elsewhere_is_a_name_and_at_most_a_link(families: Families) -> None:
    families.publish(
        "acme/m:1.0.0",
        {"name": "https://example.com/weights", "version": "main", "relation": "converted"},
        {"name": "javascript:alert(1)//x"},
        base="meta/llama:7b",
        source="huggingface",
        repo="meta/llama-7b",
        url="https://example.com/meta/llama-7b",
        revision="abc",
    )
    seen = families.lineage("acme/m:1.0.0")
    assert seen.nodes[1:] == [
        Node("elsewhere", "meta/llama-7b", -1, "abc", "https://example.com/meta/llama-7b"),
        Node("elsewhere", "https://example.com/weights", -1, "main", "https://example.com/weights"),
        Node("elsewhere", "javascript:alert(1)//x", -1),
        Node("elsewhere", "meta/llama:7b", -1),
    ]
    assert [(edge.kind, edge.relation) for edge in seen.edges] == [
        ("source", "huggingface"), ("derived_from", "converted"), ("derived_from", ""), ("base_model", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["javascript:alert(1)", "data:text/html,x", "//example.com", "https:", "https://", "http://[", "ftp://example.com",
     "https://a:b@example.com/", "https://example.com/ x", "https://example.com/\u202e", "https://example.com/\n", "",
     "https://example.com/" + 2_000 * "x", "HTTPS//example.com", "/local", "model"],
)  # fmt: skip
def test_what_a_page_must_not_link_to_is_no_address(text: str) -> None:
    assert web_url(text) is None


def test_addresses_of_the_web_are_linked_to() -> None:
    for text in ("https://example.com", "http://example.com:8080/a?b=c#d", "HTTPS://EXAMPLE.com/ü"):
        assert web_url(text) == text


def test_a_version_that_is_gone_leaves_its_model(families: Families) -> None:
    families.publish("acme/base:1.0.0", "elsewhere/root")
    families.publish("acme/base:2.0.0", "elsewhere/root")
    families.publish("acme/m:1.0.0", finetune("acme/base", "1.0.0"))
    families.delete("acme/base:1.0.0")
    [base] = [node for node in families.lineage("acme/m:1.0.0").nodes if node.name == "acme/base"]
    assert (base.kind, base.version) == ("model", "1.0.0")
    assert families.edges("acme/m:1.0.0") == {"acme/m:1.0.0 <- acme/base:1.0.0 (finetune)"}
    assert families.edges("acme/base:2.0.0") == {"acme/base:2.0.0 <- elsewhere/root? (derived_from)"}


def test_a_model_that_is_gone_is_nobodys_parent_and_nobodys_child(families: Families) -> None:
    families.publish("acme/base:1.0.0")
    families.publish("acme/m:1.0.0", "acme/base")
    families.publish("acme/tip:1.0.0", "acme/m")
    families.delete("acme/m")
    assert families.edges("acme/base:1.0.0") == families.edges("acme/tip:1.0.0") == set()
    assert families.edges("acme/tip:1.0.0", families.member("acme")) == {"acme/tip:1.0.0 <- acme/m? (derived_from)"}


def test_whoever_gets_the_number_of_what_is_gone_is_no_parent(families: Families) -> None:
    """SQLite gives the number of the last model again."""
    families.publish("acme/tip:1.0.0")
    families.publish("acme/secret:1.0.0", public=False)
    families.publish("acme/tip:2.0.0", "acme/secret", base="acme/secret")
    families.delete("acme/secret")
    families.publish("open/new:1.0.0")
    assert families.edges("acme/tip:2.0.0") == families.edges("open/new:1.0.0") == set()
    assert [node.name for node in families.lineage("acme/tip:2.0.0").nodes] == ["acme/tip"]


def test_a_name_that_somebody_takes_later_is_no_parent(families: Families) -> None:
    families.publish("acme/m:1.0.0", base="meta/llama")
    families.publish("meta/llama:1.0.0")
    assert families.edges("acme/m:1.0.0") == {"acme/m:1.0.0 <- meta/llama? (base_model)"}
    assert families.edges("meta/llama:1.0.0") == set()


def test_what_was_published_by_a_release_before_is_found_as_what_was_published_now(families: Families) -> None:
    families.publish("acme/base:1.0.0")
    families.publish("acme/base:1.1.0-rc.1+b", finetune("ACME/Base", "1.0.0"), base="acme/base")
    families.publish("acme/m:1.0.0", finetune("acme/base", "1.0.0"), base="acme/base")
    families.publish("acme/m:1.1.0", "acme/base:1.1.0-rc.1+b", {"name": "acme/base", "version": "production"})
    families.publish("acme/m:1.2.0", finetune("acme/m", "1.0.0"), "elsewhere/x", base="acme/base:1.0.0")
    families.publish("acme/m:1.3.0", {"name": 7, "version": {}}, base="acme/m", source="upload")
    families.publish("acme/gone:1.0.0", "acme/base")
    families.publish("acme/left:1.0.0", "acme/gone", "acme/m")
    families.delete("acme/gone")
    noted = _noted(families)
    assert len(noted) == 7
    downgrade(families.database, "0003")
    migrate(families.database)
    assert _noted(families) == noted


def _noted(families: Families) -> list[tuple[int, int, str]]:
    row = VersionParent
    with families.database.read() as session:
        rows = session.execute(select(row.version_id, row.parent_model_id, row.parent_version))
        return sorted((version_id, model_id, number) for version_id, model_id, number in rows)


# --- bounds


def test_a_long_line_is_cut_and_says_so(families: Families) -> None:
    families.publish("acme/m0:1.0.0")
    for number in range(1, 12):
        families.publish(f"acme/m{number}:1.0.0", finetune(f"acme/m{number - 1}", "1.0.0"))
    middle = families.lineage("acme/m6:1.0.0")
    steps = [node.step for node in middle.nodes]
    assert (min(steps), max(steps)) == (-descent.MOST_STEPS_ABOVE, descent.MOST_STEPS_BELOW)
    assert (middle.more_above, middle.more_below) == (True, True)
    end = families.lineage("acme/m5:1.0.0")
    assert (end.more_above, end.more_below) == (False, True)
    assert not families.lineage("acme/m8:1.0.0").more_below


def test_many_parents_and_many_children_are_cut_and_say_so(families: Families) -> None:
    families.publish("acme/base:1.0.0", *(f"elsewhere/p{number}" for number in range(descent.MOST_PARENTS)))
    for number in range(descent.MOST_BELOW):
        families.publish(f"acme/child{number}:1.0.0", "acme/base")
    full = families.lineage("acme/base:1.0.0")
    assert (len(full.nodes), full.more_above, full.more_below) == (
        1 + descent.MOST_PARENTS + descent.MOST_BELOW, False, False,
    )  # fmt: skip
    families.publish("acme/one-more:1.0.0", "acme/base")
    assert families.lineage("acme/base:1.0.0").more_below
    families.publish("acme/merge:1.0.0", *(f"elsewhere/p{number}" for number in range(descent.MOST_PARENTS + 1)))
    merge = families.lineage("acme/merge:1.0.0")
    assert (len(merge.nodes), merge.more_above) == (1 + descent.MOST_PARENTS, True)


def test_words_of_any_length_are_cut(families: Families) -> None:
    families.publish("acme/m:1.0.0", {"name": 9_000 * "n", "version": 9_000 * "v", "relation": 9_000 * "r"})
    seen = families.lineage("acme/m:1.0.0")
    assert (len(seen.nodes[1].name), len(seen.nodes[1].version or ""), len(seen.edges[0].relation)) == (200, 120, 120)


# --- who may know


def test_parents_that_are_hidden_are_not_there_for_strangers_and_a_name_for_members(families: Families) -> None:
    families.publish("secret/base:1.0.0", "open/root", public=False)
    families.publish("open/m:1.0.0", finetune("secret/base", "1.0.0"), base="secret/base")
    alone = families.lineage("open/m:1.0.0")
    assert ([name_of(node) for node in alone.nodes], alone.edges, alone.more_above) == (["open/m:1.0.0"], [], False)
    named = {"open/m:1.0.0 <- secret/base:1.0.0? (finetune)", "open/m:1.0.0 <- secret/base:1.0.0? (base_model)"}
    assert families.edges("open/m:1.0.0", families.member("open")) == named
    both = families.lineage("open/m:1.0.0", families.member("open", "secret"))
    assert names_of(both.nodes) == {"open/m:1.0.0", "secret/base:1.0.0", "open/root?"}


def test_children_that_are_hidden_are_not_there(families: Families) -> None:
    families.publish("open/base:1.0.0")
    for number in range(descent.MOST_BELOW + 5):
        families.publish(f"secret/child{number}:1.0.0", "open/base", public=False)
    families.publish("open/child:1.0.0", "open/base")
    for _ in range(2):
        seen = families.lineage("open/base:1.0.0")
        assert names_of(seen.nodes) == {"open/base:1.0.0", "open/child:1.0.0"}
        assert not seen.more_below, "what is hidden takes no room"
    assert families.lineage("open/base:1.0.0", families.member("secret")).more_below


def test_a_hidden_model_between_two_others_parts_them(families: Families) -> None:
    families.publish("open/base:1.0.0")
    families.publish("secret/mid:1.0.0", "open/base", public=False)
    families.publish("open/tip:1.0.0", "secret/mid")
    assert families.edges("open/base:1.0.0") == families.edges("open/tip:1.0.0") == set()
    assert len(families.edges("open/base:1.0.0", families.member("secret"))) == 2


def test_a_publisher_who_does_not_see_a_model_cannot_have_it_for_a_parent(families: Families) -> None:
    families.publish("secret/base:1.0.0", public=False)
    families.publish("evil/m:1.0.0", "secret/base", by=families.member("evil"))
    assert families.edges("evil/m:1.0.0") == {"evil/m:1.0.0 <- secret/base? (derived_from)"}
    assert families.edges("secret/base:1.0.0", families.member("secret")) == set()


def test_a_token_that_sees_nothing_public_sees_its_own(families: Families) -> None:
    families.publish("open/base:1.0.0")
    families.publish("mine/m:1.0.0", "open/base", public=False)
    me = families.member("mine")
    narrowed = Actor(me.principal, me.name, me.roles, token_uuid="ada", sees_public=False)
    assert families.edges("mine/m:1.0.0", narrowed) == {"mine/m:1.0.0 <- open/base? (derived_from)"}
    assert families.edges("mine/m:1.0.0", me) == {"mine/m:1.0.0 <- open/base (derived_from)"}
    assert families.edges("open/base:1.0.0", STRANGER) == set()
