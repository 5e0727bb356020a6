"""Commits: what they change, what makes two of them one, what is refused, and how one becomes a version."""

import re

import pytest
from sqlalchemy import func, select, update

from steelyard.server.core.access import Actor, Role
from steelyard.server.core.history import drafts
from steelyard.server.core.history.drafts import Added, Deleted, DeletedFolder
from steelyard.server.core.publish import Description
from steelyard.server.db.tables import Commit, Table, Tree, Upload, Version
from steelyard.server.errors import (
    AlreadyExists,
    Conflict,
    EntryNotFound,
    Forbidden,
    Invalid,
    PreconditionFailed,
    RevisionNotFound,
    Unauthenticated,
)
from steelyard.server.names import Version as SemVer
from tests.house.people import oid_of
from tests.server.core.history.lines import Line

TINY = "/org/ada/models/tiny"


def count(line: Line, table: type[Table]) -> int:
    with line.reading() as (session, _):
        return session.scalar(select(func.count()).select_from(table)) or 0


# --- what a commit changes


def test_a_commit_adds_to_what_was_there(line: Line) -> None:
    first = line.commit({"b.bin": b"b", "a/config.json": b"{}"})
    second = line.commit({"b.bin": b"another b"})
    assert re.fullmatch("[0-9a-f]{40}", first.sha) and first.sha != second.sha
    assert line.files(first.sha) == {"a/config.json": oid_of(b"{}"), "b.bin": oid_of(b"b")}
    assert line.files() == {"a/config.json": oid_of(b"{}"), "b.bin": oid_of(b"another b")}
    assert list(line.files()) == ["a/config.json", "b.bin"], "in the order of paths"


def test_changes_are_made_in_their_order(line: Line) -> None:
    old, new = line.ada.upload("ada/tiny", b"old", b"new")
    line.change([Added("a", old), Deleted("a"), Added("b", old)])
    line.change([Deleted("b"), Added("b", new)])
    assert line.files() == {"b": new}


@pytest.mark.parametrize("said", ["dir", "dir/"])
def test_a_deleted_folder_takes_what_lies_below_it_and_no_neighbour(line: Line, said: str) -> None:
    line.commit({"dir/a": b"a", "dir/deep/b": b"b", "dir2/a": b"a", "directory": b"d"})
    line.change([DeletedFolder(said)])
    assert line.files().keys() == {"dir2/a", "directory"}


@pytest.mark.parametrize("change", [Deleted("gone"), Deleted("dir"), DeletedFolder("gone"), DeletedFolder("file")])
def test_what_is_not_there_cannot_be_deleted(line: Line, change: drafts.Change) -> None:
    head = line.commit({"dir/a": b"a", "file": b"f"})
    with pytest.raises(EntryNotFound, match="A file with this name doesn't exist"):
        line.change([change])
    assert line.resolve(None).commit.sha == head.sha


def test_a_new_model_can_begin_with_an_empty_commit(line: Line) -> None:
    with line.writing() as (session, found):
        first = drafts.begin_main(session, line.member, found)
    with line.writing() as (session, found):
        assert drafts.begin_main(session, line.member, found).sha == first.sha
    assert line.files() == {}
    assert line.commit({"a": b"a"}).parent_id == first.id


# --- when two are one


def test_a_commit_that_changes_nothing_is_the_head(line: Line) -> None:
    head = line.commit({"a": b"a"}, title="first")
    assert line.commit({"a": b"a"}, title="again, in other words").sha == head.sha
    assert line.titles() == ["first"]


def test_a_retried_commit_is_the_head_that_it_made(line: Line) -> None:
    parent = line.commit({"a": b"a", "dir/b": b"b"})
    [new] = line.ada.upload("ada/tiny", b"new")
    changes: list[drafts.Change] = [Deleted("a"), DeletedFolder("dir"), Added("c", new)]
    made = line.change(changes, parent_sha=parent.sha)
    assert line.change(changes, parent_sha=parent.sha).sha == made.sha
    assert line.change(changes).sha == made.sha
    assert line.titles() == ["a change", "a change"]
    for sha, title in ((parent.sha, "another change"), ("0" * 40, "a change")):
        with pytest.raises(PreconditionFailed):
            line.change(changes, parent_sha=sha, title=title)
    with pytest.raises(EntryNotFound):
        line.change(changes, title="another change")


def test_a_commit_says_which_head_it_was_made_for(line: Line) -> None:
    first = line.commit({"a": b"1"})
    second = line.commit({"a": b"2"})
    [third] = line.ada.upload("ada/tiny", b"3")
    for sha in (first.sha, first.sha[:7], "", "abcd", "%"):
        with pytest.raises(PreconditionFailed, match=second.sha):
            line.change([Added("a", third)], parent_sha=sha)
    assert line.change([Added("a", third)], parent_sha=second.sha[:7].upper()).parent_id == second.id


def test_the_first_commit_of_all_can_expect_no_head(line: Line) -> None:
    [a] = line.ada.upload("ada/tiny", b"a")
    with pytest.raises(PreconditionFailed):
        line.change([Added("a", a)], parent_sha="0" * 40)


def test_the_same_done_on_two_branches_is_one_commit(line: Line) -> None:
    line.commit({"a": b"1"})
    line.branch("dev")
    assert line.commit({"a": b"2"}).sha == line.commit({"a": b"2"}, "dev").sha
    assert (count(line, Commit), count(line, Tree)) == (2, 2)


def test_who_did_it_and_what_he_said_make_another_commit(line: Line) -> None:
    line.commit({"a": b"1"})
    for name in ("dev", "test", "more"):
        line.branch(name)
    [a] = line.ada.upload("ada/tiny", b"2")
    bob = Actor("user:bob", "bob", line.member.roles, token_uuid="bob")
    change = [Added("a", a)]
    commits = [
        line.change(change),
        line.change(change, "dev", title="other"),
        line.change(change, "test", message="more"),
        line.change(change, "more", actor=bob),
    ]
    assert len({commit.sha for commit in commits}) == 4


def test_a_model_made_again_has_other_commits(line: Line) -> None:
    old = line.commit({"a": b"a"})
    assert line.ada.delete(TINY).status_code == 204
    line.make()
    with pytest.raises(RevisionNotFound):
        line.resolve(old.sha)
    assert line.commit({"a": b"a"}).sha != old.sha


# --- what is refused


def test_every_wrong_path_and_all_that_is_not_held_is_named(line: Line) -> None:
    line.commit({"dir/file": b"a", "Readme.md": b"b"})
    [held] = line.ada.upload("ada/tiny", b"held")
    wrong = ["../out", "README.md", "dir", "dir/file/below", "con"]
    with pytest.raises(Invalid) as refused:
        line.change([*(Added(path, held) for path in wrong), Added("missing", oid_of(b"never sent"))])
    told = [fault.loc[-1] for fault in refused.value.faults]
    assert sorted(map(str, told)) == ["../out", "README.md", "con", "dir/file", "dir/file/below", "missing"]
    assert len(line.files()) == 2


def test_what_another_organisation_holds_cannot_be_committed(line: Line) -> None:
    eve = line.registered.user("eve")
    [theirs] = eve.upload("eve/other", b"theirs")
    with pytest.raises(Invalid, match=f"'ada' does not hold the bytes of a \\({theirs}\\)"):
        line.change([Added("a", theirs)])


def test_what_is_being_proven_can_be_committed_in_a_moment(line: Line) -> None:
    line.ada.offer("ada/tiny", b"on its way")
    with line.writing() as (session, _):
        session.execute(update(Upload).values(state="proving"))
    with pytest.raises(Conflict) as refused:
        line.change([Added("a", oid_of(b"on its way"))])
    assert refused.value.retry_after_seconds


@pytest.mark.parametrize("words", ["a NUL \0 in it", "half a \ud800 character"])
def test_words_that_no_database_keeps_are_refused(line: Line, words: str) -> None:
    for title, message in ((words, ""), ("good", words)):
        with pytest.raises(Invalid):
            line.change([], title=title, message=message)


def test_a_branch_has_to_be_there(line: Line) -> None:
    line.commit({"a": b"a"})
    for name in ("dev", "Main", "with\0nul", "x" * 1000):
        with pytest.raises(RevisionNotFound):
            line.change([Deleted("a")], name)


def test_drafts_are_for_those_who_may_publish(line: Line) -> None:
    commit = line.commit({"a": b"a"})
    line.branch("dev")
    [org_id] = line.member.roles
    reader = Actor("user:bob", "bob", {org_id: Role.READER}, token_uuid="bob")
    for actor, error in ((reader, Forbidden), (line.stranger, Forbidden), (Actor("", "anonymous"), Unauthenticated)):
        with line.writing() as (session, found):
            said, one = Description(), SemVer.parse("1.0.0")
            for act in (
                lambda: drafts.commit_changes(session, actor, found, "main", [], title="none"),  # noqa: B023
                lambda: drafts.create_branch(session, actor, found, "other"),  # noqa: B023
                lambda: drafts.delete_branch(session, actor, found, "dev"),  # noqa: B023
                lambda: drafts.create_tag(session, actor, found, "name"),  # noqa: B023
                lambda: drafts.delete_tag(session, actor, found, "name"),  # noqa: B023
                lambda: drafts.squash(session, actor, found, "dev"),  # noqa: B023
                lambda: drafts.publish_commit(session, actor, found, commit, one, said),  # noqa: B023
            ):
                with pytest.raises(error):
                    act()


# --- from a draft to a version


def test_a_version_of_a_commit_is_one_like_any_other(line: Line) -> None:
    line.commit({"model.safetensors": b"weights"})
    commit = line.commit({"config.json": b"{}"})
    line.commit({"later.txt": b"later"})
    published = line.publish(commit, "1.0.0", summary="from a draft")
    assert published.created
    answer = line.ada.get(f"{TINY}/1.0.0").json()
    assert answer["artifacts"] == {"config.json": oid_of(b"{}"), "model.safetensors": oid_of(b"weights")}
    assert (answer["origin"]["commit"], answer["origin"]["registry"]["via"]) == (commit.sha, "hf")
    assert (answer["summary"], answer["framework"]) == ("from a draft", "safetensors")
    assert line.ada.get(f"{TINY}/1.0.0/files/config.json").content == b"{}"
    assert line.ada.get(TINY).json()["version"] == "1.0.0"


def test_a_version_shares_the_row_of_its_commits_files(line: Line) -> None:
    commit = line.commit({"a": b"a"})
    version = line.publish(commit, "1.0.0").version
    assert (version.tree_id, version.commit_id) == (commit.tree_id, commit.id)
    assert (count(line, Tree), count(line, Commit)) == (1, 1)


def test_the_same_version_again_changes_nothing_and_another_one_is_refused(line: Line) -> None:
    first = line.commit({"a": b"a"})
    made = line.publish(first, "1.0.0")
    again = line.publish(first, "1.0.0")
    assert (made.created, again.created, again.version.id) == (True, False, made.version.id)
    second = line.commit({"a": b"another"})
    with pytest.raises(AlreadyExists):
        line.publish(second, "1.0.0")
    assert line.resolve("1.0.0").commit.sha == first.sha


def test_one_commit_can_be_several_versions(line: Line) -> None:
    commit = line.commit({"a": b"a"})
    line.publish(commit, "1.0.0-rc.1")
    line.publish(commit, "1.0.0")
    assert line.resolve(commit.sha).version is not None
    assert line.resolve(commit.sha).version.version == "1.0.0"  # type: ignore[union-attr]
    assert line.ada.delete(f"{TINY}/1.0.0").status_code == 204
    assert line.ada.get(f"{TINY}/1.0.0-rc.1/files/a").content == b"a"


def test_a_commit_without_files_is_no_version(line: Line) -> None:
    line.commit({"a": b"a"})
    with pytest.raises(Invalid, match="no files"):
        line.publish(line.commit({}, deleted=["a"]), "1.0.0")


def test_a_tag_with_a_v_is_kept_beside_its_version(line: Line) -> None:
    assert drafts.number_of_tag("v1.0.0") == drafts.number_of_tag("1.0.0") == SemVer.parse("1.0.0")
    assert drafts.number_of_tag("v1.0") is None and drafts.number_of_tag("release-1.0.0") is None
    commit = line.commit({"a": b"a"})
    for _ in range(2):
        line.publish(commit, "1.0.0", tag="v1.0.0")
    assert line.refs().tags == [("1.0.0", commit.sha), ("v1.0.0", commit.sha)]
    with line.writing() as (session, found):
        drafts.delete_tag(session, line.member, found, "v1.0.0")
    assert line.refs().tags == [("1.0.0", commit.sha)]
    assert line.resolve("v1.0.0").commit.sha == commit.sha


def test_weights_are_found_before_the_version_is_published(line: Line) -> None:
    commit = line.commit({"model.safetensors": b"weights", "a.txt": b"a"})
    with line.reading() as (session, found):
        number = SemVer.parse("1.0.0")
        weights = drafts.weights_of(session, line.member, found, commit, number, Description())
    assert [path for path, _ in weights] == ["model.safetensors"]


# --- who did what


def test_every_change_is_written_down(line: Line) -> None:
    commit = line.commit({"a": b"a"})
    line.branch("dev")
    line.commit({"a": b"b"}, "dev")
    line.tag("name")
    line.publish(commit, "1.0.0", tag="v1.0.0")
    with line.writing() as (session, found):
        drafts.squash(session, line.member, found, "dev")
        drafts.delete_tag(session, line.member, found, "name")
        drafts.delete_branch(session, line.member, found, "dev")
    events = line.ada.get("/org/ada/audit").json()["events"]
    ours = [(event["action"], event["target"]) for event in events if event["action"] != "model.create"]
    assert [event for event in reversed(ours) if event[1].startswith("ada/tiny")] == [
        ("commit.create", "ada/tiny@main"),
        ("branch.create", "ada/tiny@dev"),
        ("commit.create", "ada/tiny@dev"),
        ("tag.create", "ada/tiny@name"),
        ("version.publish", "ada/tiny:1.0.0"),
        ("tag.create", "ada/tiny@v1.0.0"),
        ("branch.squash", "ada/tiny@dev"),
        ("tag.delete", "ada/tiny@name"),
        ("branch.delete", "ada/tiny@dev"),
    ]


def test_a_version_that_was_taken_back_has_no_number_to_give(line: Line) -> None:
    commit = line.commit({"a": b"a"})
    line.publish(commit, "1.0.0")
    assert line.ada.delete(f"{TINY}/1.0.0").status_code == 204
    with pytest.raises(AlreadyExists, match="spent"):
        line.publish(commit, "1.0.0")
    assert count(line, Version) == 0
    assert line.files() == {"a": oid_of(b"a")}, "the draft stays on its line"
