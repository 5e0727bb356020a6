"""Which versions have the same bytes, and how many."""

from steelyard.server.core.access import Actor
from steelyard.server.core.lineage import sharing
from tests.server.core.families import STRANGER, Families

WEIGHTS = {"model.safetensors": 9_700, "head.safetensors": 200, "tokenizer.json": 100}


def test_whoever_has_most_comes_first_once_a_model(families: Families) -> None:
    families.publish("acme/base:1.0.0", files=WEIGHTS | {"tokenizer.json": 101})
    families.publish("acme/base:1.2.0", files=WEIGHTS | {"head.safetensors": 201})
    families.publish("acme/whole:1.0.0", files=WEIGHTS)
    families.publish("acme/whole:1.0.1", files=WEIGHTS)
    families.publish("acme/half:1.0.0", files={"head.safetensors": 200, "other.bin": 50_000})
    families.publish("acme/none:1.0.0", files={"other.bin": 50_000})
    families.publish("acme/tiny:1.0.0", files=WEIGHTS)
    assert families.sharers("acme/tiny:1.0.0") == [
        ("acme/whole:1.0.1", 10_000),
        ("acme/base:1.0.0", 9_900),
        ("acme/half:1.0.0", 200),
    ]
    assert families.sharers("acme/none:1.0.0") == [("acme/half:1.0.0", 50_000)]


def test_of_versions_alike_in_their_heaviest_files_the_one_that_is_the_same_is_told(families: Families) -> None:
    many = {f"part-{number}.bin": 1_000 for number in range(12)} | {"config.json": 3}
    families.publish("acme/base:1.0.0", files=many)
    families.publish("acme/base:1.1.0", files=many | {"config.json": 4})
    families.publish("acme/tuned:1.0.0", files=many)
    assert families.sharers("acme/tuned:1.0.0") == [("acme/base:1.0.0", 12_003)]


def test_other_versions_of_the_same_model_count_and_the_version_itself_does_not(families: Families) -> None:
    families.publish("acme/tiny:1.0.0", files=WEIGHTS)
    assert families.sharers("acme/tiny:1.0.0") == []
    families.publish("acme/tiny:1.1.0", files=WEIGHTS | {"head.safetensors": 300})
    assert families.sharers("acme/tiny:1.0.0") == [("acme/tiny:1.1.0", 9_800)]


def test_a_file_that_lies_there_twice_is_counted_once(families: Families) -> None:
    families.publish("acme/twice:1.0.0", files={"model.bin": 1_000, "copy/model.bin": 1_000})
    families.publish("acme/once:1.0.0", files={"model.bin": 1_000})
    found = families.sharing("acme/twice:1.0.0")
    assert (found.distinct_bytes, [it.share for it in found.sharers]) == (1_000, [1.0])


def test_what_is_under_a_hundredth_is_not_told(families: Families) -> None:
    families.publish("acme/tiny:1.0.0", files={"model.bin": 99_100, "tokenizer.json": 900})
    families.publish("acme/other:1.0.0", files={"other.bin": 99_100, "tokenizer.json": 900})
    assert families.sharers("acme/tiny:1.0.0") == []


def test_versions_without_bytes_share_nothing(families: Families) -> None:
    for name in ("a", "b"):
        families.publish(f"acme/{name}:1.0.0", files={"empty": 0})
    assert families.sharers("acme/a:1.0.0") == []


def test_at_most_so_many_are_told(families: Families) -> None:
    for number in range(sharing.MOST_SHARERS + 3):
        families.publish(f"acme/m{number}:1.0.0", files=WEIGHTS)
    assert len(families.sharers("acme/m0:1.0.0")) == sharing.MOST_SHARERS


def test_bytes_in_models_that_are_hidden_are_never_told(families: Families) -> None:
    for number in range(sharing.MOST_SHARERS + 3):
        families.publish(f"secret/m{number}:1.0.0", files=WEIGHTS, public=False)
    families.publish("mine/guess:1.0.0", files=WEIGHTS, public=False)
    families.publish("open/other:1.0.0", files=WEIGHTS | {"head.safetensors": 201})
    me = families.member("mine")
    assert families.sharers("mine/guess:1.0.0", me) == [("open/other:1.0.0", 9_800)]
    assert families.sharers("open/other:1.0.0", STRANGER) == []
    narrowed = Actor(me.principal, me.name, me.roles, token_uuid="ada", sees_public=False)
    assert families.sharers("mine/guess:1.0.0", narrowed) == []


def test_versions_that_are_gone_have_nothing(families: Families) -> None:
    families.publish("acme/a:1.0.0", files=WEIGHTS)
    families.publish("acme/b:1.0.0", files=WEIGHTS)
    families.delete("acme/b:1.0.0")
    assert families.sharers("acme/a:1.0.0") == []
