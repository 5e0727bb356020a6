"""What names lead to and for whom, how `main` moves, and what goes when versions, branches and models go."""

import re
from contextlib import closing

import pytest
from sqlalchemy import delete, func, select

from steelyard.server.core import models
from steelyard.server.core.access import Actor, Role
from steelyard.server.core.history import drafts, revisions
from steelyard.server.db.carrying import carry, make_marked
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Branch, Commit, Table, Tag, Tree, TreeBlob
from steelyard.server.errors import AlreadyExists, Conflict, Invalid, NotFound, RevisionNotFound
from steelyard.server.jobs.check import check
from steelyard.server.jobs.gc import collect, preview
from steelyard.server.jobs.repair import repair
from tests.house.people import oid_of
from tests.house.postgres import postgres_url
from tests.server.core.history.lines import NAME, Line

TINY = "/org/ada/models/tiny"
DAY = 86_400


def count(line: Line, table: type[Table]) -> int:
    with line.reading() as (session, _):
        return session.scalar(select(func.count()).select_from(table)) or 0


def drop_branch(line: Line, name: str) -> None:
    with line.writing() as (session, found):
        drafts.delete_branch(session, line.member, found, name)


def squash(line: Line, branch: str = "main", message: str = "") -> Commit:
    with line.writing() as (session, found):
        return drafts.squash(session, line.member, found, branch, message)


# --- what a name leads to


def test_a_version_is_reached_by_each_of_its_names(line: Line) -> None:
    commit = line.commit({"a": b"a"})
    line.publish(commit, "1.2.3")
    assert line.ada.post(f"{TINY}/1.2.3/aliases", {"alias": "production"}).is_success
    names = (None, "main", commit.sha, "1.2.3", "v1.2.3", "production", "latest", "^1.2", "1.x", "*")
    for name in (*names, "None", "refs/heads/main", "refs/tags/1.2.3", "refs/tags/v1.2.3"):
        for actor in (line.member, line.stranger):
            revision = line.resolve(name, actor)
            assert (revision.commit.sha, revision.version and revision.version.version) == (commit.sha, "1.2.3"), name


@pytest.mark.parametrize(
    "name",
    [
        "gone",
        "",
        "2.0.0",
        "v2",
        "^2",
        "0" * 40,
        "refs/pr/1",
        "refs/heads/1.0.0",
        "refs/heads/",
        "refs/tags/main",
        "refs/tags/",
        "refs/heads/refs/heads/main",
        "heads/main",
        "Main",
        "with\0nul",
        "\ud800",
        "x" * 5000,
        "a b",
        "%",
        "v",
    ],
)
def test_what_leads_nowhere_is_not_found(line: Line, name: str) -> None:
    line.publish(line.commit({"a": b"a"}), "1.0.0")
    for actor in (line.member, line.stranger):
        with pytest.raises(RevisionNotFound):
            line.resolve(name, actor)


def test_what_git_spells_in_full_is_a_branch_or_a_tag_and_nothing_else(line: Line) -> None:
    first = line.commit({"a": b"a"})
    with line.writing() as (session, found):
        drafts.create_branch(session, line.member, found, "dev", first.sha)
        drafts.create_tag(session, line.member, found, "mine", first.sha)
    assert line.resolve("refs/heads/dev", line.member).commit.sha == first.sha
    assert line.resolve("refs/tags/mine", line.member).commit.sha == first.sha
    for name in ("refs/tags/dev", "refs/heads/mine"):
        with pytest.raises(RevisionNotFound):
            line.resolve(name, line.member)
    with pytest.raises(RevisionNotFound):
        line.resolve("refs/heads/dev", line.stranger)


def test_a_branch_that_is_called_none_is_none_and_not_main(line: Line) -> None:
    first = line.commit({"a": b"a"})
    with line.writing() as (session, found):
        drafts.create_branch(session, line.member, found, "None", first.sha)
    line.commit({"b": b"b"})
    assert line.resolve("None", line.member).commit.sha == first.sha


def test_a_commit_of_another_model_is_not_found(line: Line) -> None:
    line.commit({"a": b"a"})
    assert line.ada.publish("ada/other:1.0.0").status_code == 201
    with line.reading() as (session, _):
        theirs = session.scalars(select(Commit.sha).where(Commit.title == "Publish 1.0.0")).one()
    with pytest.raises(RevisionNotFound):
        line.resolve(theirs)


def test_a_branch_and_a_tag_lead_to_their_commits(line: Line) -> None:
    first = line.commit({"a": b"1"})
    line.branch("feature/x")
    assert line.tag("before", first.sha).sha == first.sha
    second = line.commit({"a": b"2"}, "feature/x")
    line.branch("later", "feature/x")
    line.tag("at-later", "later")
    found = {name: line.resolve(name).commit.sha for name in ("main", "feature/x", "before", "later", "at-later")}
    assert found == {
        "main": first.sha,
        "feature/x": second.sha,
        "before": first.sha,
        "later": second.sha,
        "at-later": second.sha,
    }


def test_drafts_are_for_members_only(line: Line) -> None:
    first = line.commit({"a": b"1"})
    line.tag("published")
    with pytest.raises(RevisionNotFound):
        line.resolve(None, line.stranger)
    line.publish(first, "1.0.0")
    second = line.commit({"a": b"2"})
    line.branch("dev")
    line.tag("draft")
    for name in (second.sha, "dev", "draft"):
        assert line.resolve(name).commit.sha == second.sha
        with pytest.raises(RevisionNotFound):
            line.resolve(name, line.stranger)
    assert (line.resolve("main").commit.sha, line.resolve("main").version) == (second.sha, None)
    assert line.resolve("main", line.stranger).commit.sha == first.sha
    assert line.resolve("published", line.stranger).commit.sha == first.sha
    assert line.refs(line.stranger) == revisions.Refs(
        [("main", first.sha)], [("1.0.0", first.sha), ("published", first.sha)]
    )
    assert line.refs() == revisions.Refs(
        [("dev", second.sha), ("main", second.sha)],
        [("1.0.0", first.sha), ("draft", second.sha), ("published", first.sha)],
    )


def test_a_member_who_only_reads_sees_drafts(line: Line) -> None:
    commit = line.commit({"a": b"1"})
    [org_id] = line.member.roles
    reader = Actor("user:bob", "bob", {org_id: Role.READER}, token_uuid="bob")
    assert line.resolve(None, reader).commit.sha == commit.sha


def test_strangers_are_not_told_who_wrote_it(line: Line) -> None:
    commit = line.commit({"a": b"1"})
    stranger_in_the_same_registry = Actor("user:bob", "bob", {10**6: Role.OWNER}, token_uuid="bob")
    with line.reading() as (_, found):
        assert revisions.author_of(line.member, found, commit) == "ada" == commit.author
        assert revisions.author_of(stranger_in_the_same_registry, found, commit) == found.org.slug


def test_a_model_without_anything_has_no_main_and_can_begin_one(line: Line) -> None:
    for actor in (line.member, line.stranger):
        with pytest.raises(RevisionNotFound):
            line.resolve(None, actor)
    with line.reading() as (session, found):
        assert revisions.find_head(session, found, "main") is None
    assert line.refs() == revisions.Refs([], [])
    assert line.branch("dev").title == "initial commit"
    assert line.titles("main") == line.titles("dev") == ["initial commit"]


# --- the history


def test_the_history_is_read_in_pages(line: Line) -> None:
    shas = [line.commit({"a": b"%d" % n}, title=f"number {n}").sha for n in range(7)]
    assert line.titles(most=3) == ["number 6", "number 5", "number 4"]
    assert line.titles(after=shas[4], most=3) == ["number 3", "number 2", "number 1"]
    assert line.titles(after=shas[1], most=3) == ["number 0"]
    assert line.titles(after=shas[0]) == []
    assert line.titles(shas[2]) == ["number 2", "number 1", "number 0"]
    for wrong in ("0" * 40, "gone"):
        with pytest.raises(RevisionNotFound):
            line.titles(after=wrong)


def test_strangers_read_of_the_history_what_was_published(line: Line) -> None:
    commits = [line.commit({"a": b"%d" % n}, title=f"number {n}") for n in range(7)]
    for n in (1, 3, 5):
        line.publish(commits[n], f"1.{n}.0")
    assert line.titles(actor=line.stranger) == ["number 5", "number 3", "number 1"]
    assert line.titles(actor=line.stranger, most=2) == ["number 5", "number 3"]
    assert line.titles(actor=line.stranger, after=commits[3].sha) == ["number 1"]
    with pytest.raises(RevisionNotFound):
        line.titles(actor=line.stranger, after=commits[4].sha)


# --- versions that came by another door


def test_a_native_version_has_a_commit_and_moves_main(line: Line) -> None:
    draft = line.commit({"a": b"draft"})
    assert line.ada.publish("ada/tiny:1.0.0", {"a": b"native"}, summary="good").status_code == 201
    revision = line.resolve("1.0.0")
    assert line.resolve("main").commit.sha == line.resolve("main", line.stranger).commit.sha == revision.commit.sha
    assert (revision.commit.title, revision.commit.message, revision.commit.author) == ("Publish 1.0.0", "good", "ada")
    assert (revision.commit.parent_id, revision.commit.is_draft) == (draft.id, False)
    assert line.files("main") == {"a": oid_of(b"native")}
    assert line.titles() == ["Publish 1.0.0", "a change"]
    assert line.titles(actor=line.stranger) == ["Publish 1.0.0"]
    assert line.commit({"b": b"more"}).parent_id == revision.commit.id


def test_a_native_version_that_is_not_the_latest_leaves_main_alone(line: Line) -> None:
    line.ada.publish("ada/tiny:2.0.0", {"a": b"two"})
    line.ada.publish("ada/tiny:1.0.0", {"a": b"one"})
    two = line.resolve("2.0.0").commit.sha
    assert line.resolve("main").commit.sha == two != line.resolve("1.0.0").commit.sha
    assert line.refs().tags == [("2.0.0", two), ("1.0.0", line.resolve("1.0.0").commit.sha)]


def test_main_follows_the_latest_when_it_is_yanked(line: Line) -> None:
    line.ada.publish("ada/tiny:1.0.0", {"a": b"one"})
    line.ada.publish("ada/tiny:2.0.0", {"a": b"two"})
    for act, latest in (("put", "1.0.0"), ("delete", "2.0.0")):
        body = {"reason": "broken"} if act == "put" else None
        assert line.ada.request(act.upper(), f"{TINY}/2.0.0/yank", json=body).status_code in (200, 204)
        for actor in (line.member, line.stranger):
            assert line.resolve("main", actor).version.version == latest  # type: ignore[union-attr]
    assert line.resolve("2.0.0", line.stranger).version


def test_drafts_on_main_stay_when_a_version_is_yanked_or_deleted(line: Line) -> None:
    for number in ("1.0.0", "2.0.0", "3.0.0"):
        line.ada.publish(f"ada/tiny:{number}", {"a": number.encode()})
    draft = line.commit({"b": b"draft"})
    assert line.ada.put(f"{TINY}/3.0.0/yank", {"reason": "broken"}).status_code in (200, 204)
    assert line.ada.delete(f"{TINY}/2.0.0").status_code == 204
    assert line.resolve("main").commit.sha == draft.sha
    assert line.resolve("main", line.stranger).version.version == "1.0.0"  # type: ignore[union-attr]


# --- what goes


def test_a_deleted_versions_commit_goes_out_of_its_line(line: Line) -> None:
    line.ada.publish("ada/tiny:1.0.0", {"a": b"one"})
    line.ada.publish("ada/tiny:2.0.0", {"a": b"two"})
    one, two = line.resolve("1.0.0").commit, line.resolve("2.0.0").commit
    line.branch("at-two", "2.0.0")
    line.tag("named", "2.0.0")
    draft = line.commit({"b": b"draft"})
    assert line.ada.delete(f"{TINY}/2.0.0").status_code == 204
    for gone in (two.sha, "2.0.0", "named"):
        with pytest.raises(RevisionNotFound):
            line.resolve(gone)
    assert line.resolve("at-two").commit.sha == one.sha
    assert line.titles() == ["a change", "Publish 1.0.0"]
    assert line.files(draft.sha) == {"a": oid_of(b"two"), "b": oid_of(b"draft")}, "a draft keeps what it took over"
    assert count(line, Tree) == 2


def test_branches_on_the_first_commit_go_with_it(line: Line) -> None:
    line.ada.publish("ada/tiny:1.0.0", {"a": b"one"})
    line.branch("dev", "1.0.0")
    assert line.ada.delete(f"{TINY}/1.0.0").status_code == 204
    assert (count(line, Branch), count(line, Commit), count(line, Tree)) == (0, 0, 0)
    with pytest.raises(RevisionNotFound):
        line.resolve("main")
    assert line.commit({"a": b"again"}).parent_id is None


def test_main_goes_to_the_latest_when_its_own_version_is_deleted(line: Line) -> None:
    line.ada.publish("ada/tiny:2.0.0", {"a": b"two"})
    line.ada.publish("ada/tiny:1.0.0", {"a": b"one"})
    assert line.ada.delete(f"{TINY}/2.0.0").status_code == 204
    assert line.resolve("main").version.version == "1.0.0"  # type: ignore[union-attr]


def test_a_native_versions_commit_that_is_another_version_too_stays(line: Line) -> None:
    line.ada.publish("ada/tiny:1.0.0", {"a": b"one"})
    commit = line.resolve("1.0.0").commit
    line.publish(commit, "1.0.1", summary="the same, and said better")
    assert line.ada.delete(f"{TINY}/1.0.0").status_code == 204
    assert line.resolve("1.0.1").commit.sha == commit.sha
    assert line.ada.get(f"{TINY}/1.0.1/files/a").content == b"one"


def test_a_version_of_a_branch_that_is_gone_takes_its_commits_along(line: Line) -> None:
    kept = line.commit({"a": b"a"})
    line.branch("dev")
    line.commit({"b": b"b"}, "dev")
    line.publish(line.commit({"c": b"c"}, "dev"), "1.0.0")
    drop_branch(line, "dev")
    assert len(line.titles("1.0.0")) == 3
    assert line.ada.delete(f"{TINY}/1.0.0").status_code == 204
    assert (count(line, Commit), count(line, Tree)) == (1, 1)
    assert line.resolve("main").commit.sha == kept.sha


def test_a_deleted_branch_takes_along_what_nothing_else_has(line: Line) -> None:
    line.commit({"a": b"a"})
    line.branch("dev")
    named = line.commit({"b": b"b"}, "dev")
    line.tag("named", "dev")
    gone = line.commit({"c": b"c"}, "dev")
    drop_branch(line, "dev")
    for name in ("dev", gone.sha):
        with pytest.raises(RevisionNotFound):
            line.resolve(name)
    assert line.files("named") == line.files(named.sha) == {"a": oid_of(b"a"), "b": oid_of(b"b")}
    assert count(line, Tree) == 2
    with line.writing() as (session, found):
        drafts.delete_tag(session, line.member, found, "named")
    assert (count(line, Tree), count(line, Commit), count(line, Tag)) == (1, 1, 0)


def test_main_cannot_be_deleted(line: Line) -> None:
    line.commit({"a": b"a"})
    with pytest.raises(Conflict):
        drop_branch(line, "main")
    with pytest.raises(RevisionNotFound):
        drop_branch(line, "gone")


def test_a_squashed_branch_is_one_commit_and_versions_keep_theirs(line: Line) -> None:
    line.publish(line.commit({"a": b"1"}, title="published"), "1.0.0")
    line.commit({"a": b"2"}, title="draft")
    line.commit({"a": b"3"}, title="draft")
    squashed = squash(line, message="all of it")
    assert line.titles() == ["all of it"]
    assert line.files() == {"a": oid_of(b"3")}
    assert line.titles("1.0.0") == ["published"]
    assert (count(line, Commit), count(line, Tree)) == (2, 2)
    assert squash(line, message="all of it").sha == squashed.sha
    with pytest.raises(RevisionNotFound):
        squash(line, "gone")


def test_a_deleted_model_leaves_nothing(line: Line) -> None:
    line.ada.publish("ada/tiny:1.0.0", {"a": b"one"})
    line.publish(line.commit({"b": b"draft"}), "1.1.0", tag="v1.1.0")
    line.branch("dev")
    line.commit({"c": b"draft"}, "dev")
    squash(line, "dev")
    assert line.ada.delete(TINY).status_code == 204
    with line.registry.database.read() as session:
        for table in (Commit, Branch, Tag, Tree, TreeBlob):
            assert session.scalar(select(func.count()).select_from(table)) == 0


# --- bytes


def test_what_a_draft_needs_stays_as_long_as_the_draft(line: Line) -> None:
    database, store = line.registry.database, line.registry.store
    line.commit({"a": b"first"})
    line.commit({"a": b"second"})
    line.branch("dev")
    line.commit({"a": b"third"}, "dev")
    assert collect(database, store, grace_seconds=0, upload_ttl_seconds=DAY).blobs == ()
    line.age(days=2)
    drop_branch(line, "dev")
    squash(line)
    assert collect(database, store, grace_seconds=DAY, upload_ttl_seconds=DAY).blobs == (), "their grace begins now"
    gone = ((oid_of(b"first"), 5), (oid_of(b"third"), 5))
    assert sorted(preview(database, store, grace_seconds=0, upload_ttl_seconds=DAY).blobs) == sorted(gone)
    assert sorted(collect(database, store, grace_seconds=0, upload_ttl_seconds=DAY).blobs) == sorted(gone)
    assert line.files() == {"a": oid_of(b"second")}


def test_the_grace_of_a_deleted_models_drafts_begins_when_they_go(line: Line) -> None:
    line.commit({"a": b"first"})
    line.age(days=2)
    assert line.ada.delete(TINY).status_code == 204
    collected = collect(line.registry.database, line.registry.store, grace_seconds=DAY, upload_ttl_seconds=DAY)
    assert collected.blobs == ()


def test_a_check_knows_what_only_drafts_need(line: Line) -> None:
    database, store = line.registry.database, line.registry.store
    line.publish(line.commit({"a": b"published"}), "1.0.0")
    draft = line.commit({"b": b"draft"})
    assert check(database, store).is_sound
    with line.writing() as (session, _):
        session.execute(delete(TreeBlob).where(TreeBlob.tree_id == draft.tree_id))
    checked = check(database, store)
    uses = [(found.kind, found.name, use.version, use.path) for found in checked.findings for use in found.needed_by]
    assert sorted(uses) == [
        ("unrecorded", oid, f"ada/tiny@{draft.sha}", path)
        for oid, path in sorted([(oid_of(b"published"), "a"), (oid_of(b"draft"), "b")])
    ]
    assert repair(database, store, checked, grace_seconds=0).left == ()
    assert check(database, store).is_sound
    assert collect(database, store, grace_seconds=0, upload_ttl_seconds=DAY).blobs == ()


def test_a_copy_has_every_line_as_it_is(line: Line) -> None:
    for number in ("1.0.0", "2.0.0"):
        line.ada.publish(f"ada/tiny:{number}", {"a": number.encode()})
    line.branch("dev")
    line.tag("named", line.commit({"b": b"b"}, "dev").sha)
    line.commit({"c": b"c"}, "dev")
    assert line.ada.delete(f"{TINY}/2.0.0").status_code == 204, "so that a commit has a grandparent for a parent"
    with closing(Database(postgres_url(migrated=False))) as copy:
        make_marked(copy, "mark")
        with line.registry.database.read() as source, copy.write() as target:
            carry(source, target, "mark")
        with copy.write() as session:
            found = models.get_model(session, line.member, "ada", NAME)
            assert revisions.list_refs(session, line.member, found) == line.refs()
            dev = revisions.resolve_revision(session, line.member, found, "dev")
            history = revisions.list_commits(session, line.member, found, dev, after=None, most=10)
            assert [commit.title for commit in history] == line.titles("dev")
            more = [drafts.Deleted("c")]
            new = drafts.commit_changes(session, line.member, found, "dev", more, title="it goes on")
            assert new.id > max(commit.id for commit in history)


# --- names of branches and tags


@pytest.mark.parametrize(
    "name",
    [
        "1.0.0",
        "v1.0.0",
        "1.0",
        "1",
        "*",
        "latest",
        "HEAD",
        "main",
        "a" * 40,
        "refs/pr/1",
        "with space",
        "a..b",
        "",
        "-x",
    ],
)
def test_what_means_something_else_cannot_name_a_branch_or_tag(line: Line, name: str) -> None:
    line.commit({"a": b"a"})
    for make in (line.branch, line.tag):
        with pytest.raises((Invalid, AlreadyExists)):
            make(name)
    assert line.refs().tags == []


def test_one_name_leads_to_one_thing(line: Line) -> None:
    line.publish(line.commit({"a": b"a"}), "1.0.0")
    line.branch("dev")
    line.tag("named")
    assert line.ada.post(f"{TINY}/1.0.0/aliases", {"alias": "production"}).is_success
    for name in ("dev", "named", "production"):
        for make in (line.branch, line.tag):
            with pytest.raises(AlreadyExists):
                make(name)
    for taken in ("dev", "named"):
        assert line.ada.post(f"{TINY}/1.0.0/aliases", {"alias": taken}).status_code == 409


def test_a_branch_begins_somewhere(line: Line) -> None:
    line.commit({"a": b"a"})
    for make in (line.branch, line.tag):
        with pytest.raises(RevisionNotFound):
            make("name", "gone")


def test_only_tags_that_are_no_version_can_be_deleted(line: Line) -> None:
    line.publish(line.commit({"a": b"a"}), "1.0.0")
    for name, error in (("1.0.0", Conflict), ("v1.0.0", Conflict), ("2.0.0", NotFound), ("gone", NotFound)):
        with line.writing() as (session, found), pytest.raises(error):
            drafts.delete_tag(session, line.member, found, name)
    assert re.fullmatch("[0-9a-f]{40}", line.refs().tags[0][1])
