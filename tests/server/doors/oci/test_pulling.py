"""Manifests that are answered at once: the same as the handler's answers, and never later than the database's news."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx2
import pytest
from sqlalchemy import event, select, update

from steelyard.server.context import Registry
from steelyard.server.core import tokens
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Model, Token, utc_now
from tests.house import Person, Registered
from tests.server.doors.oci.pushing import EMPTY, TITLE, Repository, as_bytes, descriptor, digest_of, image_manifest

SomeBytes = Callable[[int], bytes]


@pytest.fixture
def parts(registry: Registered) -> Registry:
    """The parts of the registry."""
    found: Registry = registry.client.app.state.registry  # type: ignore[attr-defined]
    return found


def publish(repo: Repository, number: str, weights: bytes) -> bytes:
    """Push a model of one file; answers its manifest."""
    for blob in (b"{}", weights):
        repo.push_blob(blob)
    layer = descriptor("application/octet-stream", weights, **{TITLE: "model.bin"})
    manifest = as_bytes(image_manifest(descriptor(EMPTY, b"{}"), [layer], artifactType="application/vnd.test"))
    assert repo.push_manifest(manifest, number).status_code == 201
    return manifest


def digest_at(repo: Repository, reference: str) -> str:
    answered = repo.get(f"manifests/{reference}")
    assert answered.status_code == 200, answered.text
    return str(answered.headers["docker-content-digest"])


def shown(answered: httpx2.Response) -> object:
    """All of an answer but the request's own id."""
    headers = {name: value for name, value in answered.headers.items() if name not in ("x-request-id", "date")}
    return answered.status_code, headers, answered.content


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """What the database is asked inside, by whoever asks it."""
    found: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        found.append(statement)

    for engine in database.engines:
        event.listen(engine, "before_cursor_execute", note)
    yield found
    for engine in database.engines:
        event.remove(engine, "before_cursor_execute", note)


@pytest.mark.only("sqlite")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("kind", ["number", "latest", "alias", "tag", "digest"])
def test_a_pull_asks_twice(kind: str, method: str, repo: Repository, parts: Registry, some_bytes: SomeBytes) -> None:
    """Who calls, and where the reference leads: whatever else the registry has."""
    manifest = publish(repo, "1.0.0", some_bytes(20))
    other = as_bytes(image_manifest(descriptor(EMPTY, b"{}"), []))
    for content, name in ((manifest, "production"), (other, "Kept_Tag")):
        assert repo.push_manifest(content, name).status_code == 201
    named = {"number": "1.0.0", "alias": "production", "tag": "Kept_Tag", "digest": digest_of(manifest)}
    with statements(parts.database) as asked:
        assert repo.request(method, f"manifests/{named.get(kind, kind)}").status_code == 200
    reads = [each for each in asked if "tokens" in each or "manifests" in each]
    assert len([each for each in reads if each.startswith("SELECT")]) == 2, reads


@pytest.mark.parametrize("conditional", [False, True], ids=["plain", "conditional"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_it_is_answered_as_the_handler_does(
    method: str,
    conditional: bool,
    repo: Repository,
    bob: Person,
    some_bytes: SomeBytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manifest = publish(repo, "1.0.0", some_bytes(20))
    later = publish(repo, "1.1.0_build.7", some_bytes(21))
    other = as_bytes(image_manifest(descriptor(EMPTY, b"{}"), []))
    for content, name in ((manifest, "production"), (other, "Kept_Tag")):
        assert repo.push_manifest(content, name).status_code == 201
    headers = {"If-None-Match": f'"{digest_of(manifest)}"'} if conditional else {}
    references = ["1.0.0", "v1.0.0", "1.1.0_build.7", "latest", "production", "Kept_Tag", "nothing", "?", "sha256:1"]
    references += [digest_of(each) for each in (manifest, later, other, b"never pushed")]

    def ask_all() -> list[object]:
        asking = (repo, repo.by(bob))
        return [shown(each.request(method, f"manifests/{r}", headers=headers)) for each in asking for r in references]

    at_once = ask_all()
    monkeypatch.setattr(Database, "glance", lambda _database, _look: None)
    assert at_once == ask_all()


def test_a_moved_alias_leads_elsewhere_at_once(repo: Repository, some_bytes: SomeBytes) -> None:
    first, second = publish(repo, "1.0.0", some_bytes(20)), publish(repo, "2.0.0", some_bytes(21))
    for manifest in (first, second, first):
        assert repo.push_manifest(manifest, "production").status_code == 201
        assert digest_at(repo, "production") == digest_of(manifest)


def test_a_hidden_model_is_hidden_at_once(
    repo: Repository, bob: Person, parts: Registry, some_bytes: SomeBytes
) -> None:
    digest = digest_of(publish(repo, "1.0.0", some_bytes(20)))
    org, _, name = repo.name.partition("/")
    with parts.database.read() as session:
        model_id = session.scalars(select(Model.id).where(Model.name == name).order_by(Model.id.desc())).first()
    for is_public, status in ((True, 200), (False, 404)):
        with parts.database.write() as session:
            session.execute(update(Model).where(Model.id == model_id).values(is_public=is_public))
        for reference in ("1.0.0", digest):
            assert repo.by(bob).get(f"manifests/{reference}").status_code == status, org


def test_a_revoked_token_is_refused_at_once(repo: Repository, parts: Registry, some_bytes: SomeBytes) -> None:
    publish(repo, "1.0.0", some_bytes(20))
    assert repo.get("manifests/1.0.0").status_code == 200
    with parts.database.write() as session:
        mine = Token.secret_sha256 == tokens.digest(repo.person.token or "")
        session.execute(update(Token).where(mine).values(revoked_at=utc_now()))
    assert repo.get("manifests/1.0.0").status_code == 401
