"""Whatever a caller may not see changes nothing of what he sees: tried on families made at random."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steelyard.server.core.access import Actor
from steelyard.server.core.lineage.descent import Lineage
from tests.server.core.families import STRANGER, Families, edges_of, name_of

ORGS = ("mine", "hers", "theirs")
MODELS = [f"{org}/{name}" for org in ORGS for name in ("a", "b")]
NUMBERS = ("1.0.0", "2.0.0")
FILES = {"tokenizer.json": 3, "config.json": 1, "weights-a.bin": 1_000, "weights-b.bin": 900, "empty": 0}
Told = tuple[Lineage, list[tuple[str, int]]]
_worlds = count(1)


@dataclass(frozen=True)
class Published:
    """One version; `parents` are models with a number, or without."""

    model: str
    number: str
    parents: tuple[tuple[str, str | None], ...]
    base: str | None
    files: tuple[str, ...]


def _published(model: str, number: str) -> st.SearchStrategy[Published]:
    parent = st.tuples(st.sampled_from(MODELS), st.sampled_from([None, *NUMBERS]))
    parents = st.lists(parent, max_size=3).map(tuple)
    base = st.one_of(st.none(), st.sampled_from(MODELS))
    files = st.lists(st.sampled_from(sorted(FILES)), min_size=1, max_size=4, unique=True).map(tuple)
    return st.builds(Published, st.just(model), st.just(number), parents, base, files)


VERSIONS = st.permutations([(model, number) for model in MODELS for number in NUMBERS]).flatmap(
    lambda pairs: st.tuples(*(_published(*pair) for pair in pairs[:9]))
)
PUBLIC = st.frozensets(st.sampled_from(MODELS))


class World:
    """The versions, published; every name in it ends in the world's number."""

    def __init__(self, families: Families, versions: tuple[Published, ...], public: frozenset[str]) -> None:
        self.families, self.versions, self.public = families, versions, public
        self.end = next(_worlds)
        for each in versions:
            parents = [{"name": self.named(model), "version": number} for model, number in each.parents]
            files = {f"{self.end}-{name}": FILES[name] for name in each.files}
            base = each.base and self.named(each.base)
            public_here = each.model in public
            families.publish(self.ref(each), *parents, base=base, files=files, public=public_here)

    def named(self, model: str) -> str:
        org, _, name = model.partition("/")
        return f"{org}{self.end}/{name}"

    def ref(self, version: Published) -> str:
        return f"{self.named(version.model)}:{version.number}"

    def actors(self) -> list[tuple[Actor, str]]:
        """A stranger, and a member of an organisation."""
        return [(STRANGER, ""), (self.families.member(f"mine{self.end}"), "mine")]

    def seen_by(self, org: str) -> list[Published]:
        return [each for each in self.versions if each.model in self.public or each.model.startswith(f"{org}/")]

    def told(self, ref: str, actor: Actor) -> Told:
        """All that is answered about a version."""
        return self.families.lineage(ref, actor), self.families.sharers(ref, actor)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(versions=VERSIONS, public=PUBLIC)
def test_what_is_hidden_might_as_well_not_be_there(
    families: Families, versions: tuple[Published, ...], public: frozenset[str]
) -> None:
    world = World(families, versions, public)
    for actor, org in world.actors():
        seen = world.seen_by(org)
        before = {world.ref(each): world.told(world.ref(each), actor) for each in seen}
        hidden = {world.named(model) for model in MODELS if model not in {each.model for each in seen}}
        for told in before.values():
            _check_names(told, hidden)
    for model in {each.model for each in versions} - {each.model for each in world.seen_by("mine")}:
        families.delete(world.named(model))
    after = {ref: world.told(ref, actor) for ref in before}
    assert after == before


def _check_names(told: Told, hidden: set[str]) -> None:
    """What is hidden is nothing here: at most a name that a member's own model says."""
    lineage, sharers = told
    assert not hidden & {node.name for node in lineage.nodes if node.kind != "elsewhere"}
    assert not hidden & {ref.partition(":")[0] for ref, _ in sharers}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(versions=VERSIONS, public=PUBLIC)
def test_every_parent_and_every_child_that_is_seen_is_told(
    families: Families, versions: tuple[Published, ...], public: frozenset[str]
) -> None:
    world = World(families, versions, public)
    for actor, org in world.actors():
        seen = world.seen_by(org)
        for child, parent in _pairs(versions):
            if child in seen and parent in {each.model for each in seen}:
                lineage = families.lineage(world.ref(child), actor)
                parents = {lineage.nodes[edge.parent].name for edge in lineage.edges if edge.child == 0}
                assert world.named(parent) in parents
        for each in seen:
            lineage = families.lineage(world.ref(each), actor)
            children = {lineage.nodes[edge.child].name for edge in lineage.edges if edge.parent == 0}
            assert lineage.more_below or children >= {
                world.named(child.model) for child in _children(versions, each) if child in seen
            }, (edges_of(lineage), [name_of(node) for node in lineage.nodes])


def _pairs(versions: tuple[Published, ...]) -> Iterator[tuple[Published, str]]:
    """Who names which model of another name that was there already."""
    for place, child in enumerate(versions):
        there = {each.model for each in versions[:place]}
        named = {*(model for model, _ in child.parents), child.base}
        yield from ((child, model) for model in sorted(there) if model in named and model != child.model)


def _children(versions: tuple[Published, ...], parent: Published) -> Iterator[Published]:
    for child, model in _pairs(versions):
        numbers = [number for name, number in child.parents if name == model]
        if child.base == model and not numbers:
            numbers = [None]
        if model == parent.model and (None in numbers or parent.number in numbers):
            yield child
