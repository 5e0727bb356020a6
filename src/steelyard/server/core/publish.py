"""Publishing a version: the one verb through which every door makes one. Whole or not at all, never changed after."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy.orm import Session

from steelyard.server.core.access import Action, Actor, allow
from steelyard.server.core.aliases import set_alias
from steelyard.server.core.audit import record
from steelyard.server.core.blobs import HeldBlob
from steelyard.server.core.files.weights import size_category
from steelyard.server.core.history import commits
from steelyard.server.core.history.commits import MAIN, Words, create_commit
from steelyard.server.core.holding import get_held
from steelyard.server.core.lineage.origins import find_parents, note_parents
from steelyard.server.core.manifests import rows
from steelyard.server.core.manifests.rows import Form
from steelyard.server.core.models import Found, create_model, find_model, latest_query, refresh_latest
from steelyard.server.core.versions import find_version, standing_of
from steelyard.server.db.tables import Commit, IdempotencyKey, Model, Org, SpentVersion, Tree, Version, utc_now
from steelyard.server.errors import AlreadyExists, Fault, Invalid
from steelyard.server.names import ModelName
from steelyard.server.names import Version as SemVer

Bump = Literal["major", "minor", "patch"]
_MOST_PARAMETERS = 2**63 - 1  # a header may claim more, and no database counts so far


@dataclass(frozen=True, slots=True)
class Description:
    """What a publisher says of a version. All of it stays as it was published."""

    framework: str | None = None
    summary: str | None = None
    description: str | None = None
    task: str | None = None
    architecture: str | None = None
    base_model: str | None = None
    license: str | None = None
    pretty_name: str | None = None
    size_category: str | None = None
    tags: Sequence[str] | None = None
    language: Sequence[str] | None = None
    task_categories: Sequence[str] | None = None
    dataset_refs: Sequence[Any] | None = None


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version to be published: `number` or `bump`, and `artifacts`, path -> OID. `via` names the door it came by."""

    artifacts: Mapping[str, str]
    number: SemVer | None = None
    bump: Bump | None = None
    idempotency_key: str | None = None
    description: Description = field(default_factory=Description)
    metrics: Mapping[str, float | int | str] | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    aliases: Sequence[str] = ()
    is_public: bool = False
    via: str = "api"
    artifacts_hash: str = field(init=False, repr=False)
    content_sha256: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Hash once, before any transaction."""
        object.__setattr__(self, "artifacts_hash", artifacts_hash(self.artifacts))
        object.__setattr__(self, "content_sha256", _content_digest(self))


@dataclass(frozen=True, slots=True)
class Published:
    """The version, and whether this call made it (or found it there, the same)."""

    found: Found
    version: Version
    created: bool


def look_ahead(
    session: Session, actor: Actor, org: Org, name: ModelName, new: NewVersion, faults: Sequence[Fault]
) -> list[tuple[str, HeldBlob]]:
    """What can be found out before the transaction, so that it is short: the held files whose headers tell how many
    parameters the model has. Raises what `publish` would; missing bytes are named together with `faults`."""
    allow(actor, Action.PUBLISH, org.id)
    model = None if faults else find_model(session, org, name)
    if model is not None and _find_earlier(session, actor, org, model, new):
        return []
    held = get_held(session, org, new.artifacts, faults)
    return [(p, held[oid]) for p, oid in new.artifacts.items() if p.lower().endswith((".safetensors", ".gguf"))]


def publish(
    session: Session,
    actor: Actor,
    org: Org,
    name: ModelName,
    new: NewVersion,
    *,
    parameters: int | None = None,
    commit: Commit | None = None,
) -> Published:
    """Make a version visible, whole. The same again changes nothing; anything different under its number is
    `AlreadyExists`. Raises `Invalid` naming every OID that the organisation does not hold, and `Conflict` while bytes
    are being proven. `parameters` is how many its weights have, where that is known. `commit` is the one that has the
    files already; without it, one is made, and `main` moved there when the version is the latest."""
    allow(actor, Action.PUBLISH, org.id)
    model = find_model(session, org, name, lock=True)
    earlier = model and _find_earlier(session, actor, org, model, new)
    if earlier:
        return earlier
    held = get_held(session, org, new.artifacts)
    if model is None:
        model = create_model(session, actor, org, name, is_public=new.is_public)
    found = Found(model, org)
    number = _choose_number(session, found, new)
    tree = session.get_one(Tree, commit.tree_id) if commit else _create_tree(session, new, held)
    made = commit or _commit(session, actor, found, number, new, tree)
    version = _add_version(session, actor, found, number, new, made, tree, parameters)
    _remember(session, actor, model, new, number)
    refresh_latest(session, model, found.full_name)
    if commit is None and model.latest_version_id == version.id:
        commits.move(session, model.id, MAIN, made)
    for alias in new.aliases:
        set_alias(session, actor, found, version, alias)
    target = f"{found.full_name}:{number}"
    record(session, actor, "version.publish", target, org_id=org.id, files=len(new.artifacts), via=new.via)
    return Published(found, version, created=True)


# --- the same again


def _find_earlier(session: Session, actor: Actor, org: Org, model: Model, new: NewVersion) -> Published | None:
    """What an earlier call with the same meaning made; raises `AlreadyExists` when the number means something else."""
    number = new.number or _remembered(session, actor, model, new)
    version = number and find_version(session, model.id, number)
    if not version:
        return None
    if version.content_sha256 != new.content_sha256:
        differs = version.artifacts_hash != new.artifacts_hash
        what = "other files" if differs else "another description (the files are the same)"
        raise AlreadyExists(
            f"{org.slug}/{model.name}:{number} is published with {what}, and versions never change. "
            "Publish under a new number."
        )
    return Published(Found(model, org), version, created=False)


def _remembered(session: Session, actor: Actor, model: Model, new: NewVersion) -> SemVer | None:
    row = session.get(IdempotencyKey, (model.id, actor.principal, new.idempotency_key))
    if row is None:
        return None
    if row.request_sha256 != _request_digest(new):
        fault = Fault(("header", "Idempotency-Key"), "this key was used for a different publish")
        raise Invalid("This Idempotency-Key was used for something else. Send a new one.", faults=(fault,))
    return SemVer.parse(row.version)


def _remember(session: Session, actor: Actor, model: Model, new: NewVersion, number: SemVer) -> None:
    if new.bump and new.idempotency_key:
        session.merge(  # a retry after the version was deleted makes a new one under the same key
            IdempotencyKey(
                model_id=model.id,
                principal=actor.principal,
                key=new.idempotency_key,
                request_sha256=_request_digest(new),
                version=str(number),
            )
        )


def _request_digest(new: NewVersion) -> bytes:
    return hashlib.sha256(new.content_sha256 + (new.bump or "").encode()).digest()


def _content_digest(new: NewVersion) -> bytes:
    """A digest of all that never changes: artifacts and description, as the publisher sent them."""
    said = {key: _plain(getattr(new.description, key)) for key in Description.__slots__}
    said["framework"] = framework_of(new)
    document = {"artifacts": dict(new.artifacts), **said}
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).digest()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else value


# --- the number


def _choose_number(session: Session, found: Found, new: NewVersion) -> SemVer:
    if new.number is not None:
        check_unspent(session, found, new.number)
        _refuse_pushed(session, found, new.number)
        return new.number
    if new.bump is None:
        raise ValueError("a publish names a number or a bump")
    latest = session.scalar(latest_query(found.model.id))
    number = (SemVer.parse(latest.version) if latest else SemVer(0, 0, 0)).bump(new.bump)
    while find_version(session, found.model.id, number) or _is_spent(session, found, number):
        number = number.bump(new.bump)
    _refuse_pushed(session, found, number)
    return number


def _refuse_pushed(session: Session, found: Found, number: SemVer) -> None:
    """What was pushed under this number and is no model, an image say, keeps its tag: a tag leads to one thing."""
    if rows.find_tagged(session, found.model.id, Form.ARTIFACT, number.tag):
        raise AlreadyExists(
            f"{found.full_name}:{number.tag} is a tag of something else that was pushed there. Delete the tag, or "
            "publish another number."
        )


def check_unspent(session: Session, found: Found, number: SemVer) -> None:
    """Raise `AlreadyExists` for the number of a version that was deleted."""
    if _is_spent(session, found, number):
        raise AlreadyExists(
            f"{found.full_name}:{number} was published and deleted; its number is spent. Publish a new number."
        )


def _is_spent(session: Session, found: Found, number: SemVer) -> bool:
    return session.get(SpentVersion, (found.org.id, found.model.name_key, str(number))) is not None


# --- the rows


def _create_tree(session: Session, new: NewVersion, held: Mapping[str, HeldBlob]) -> Tree:
    files = [(path, oid, held[oid].size_bytes) for path, oid in new.artifacts.items()]
    return commits.create_tree(session, files, {blob.id for blob in held.values()})


def _commit(session: Session, actor: Actor, found: Found, number: SemVer, new: NewVersion, tree: Tree) -> Commit:
    """What the Hub's clients know the version by. Its number is never given again, so that it is never made twice."""
    words = Words(f"Publish {number}", new.description.summary or "", actor.name)
    parent = commits.find_head(session, found.model.id, MAIN)
    return create_commit(session, found.org, found.model, parent, tree.id, new.artifacts_hash, words, is_draft=False)


def _add_version(
    session: Session,
    actor: Actor,
    found: Found,
    number: SemVer,
    new: NewVersion,
    commit: Commit,
    tree: Tree,
    parameters: int | None,
) -> Version:
    said, now = new.description, utc_now()
    version = Version(
        model_id=found.model.id,
        version=str(number),
        precedence=number.precedence,
        standing=standing_of(number),
        tree_id=tree.id,
        commit_id=commit.id,
        artifacts_hash=new.artifacts_hash,
        content_sha256=new.content_sha256,
        size_bytes=tree.size_bytes,
        metrics=dict(new.metrics) if new.metrics is not None else None,
        origin=_stamped(actor, new, now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")),
        parents=find_parents(session, actor, said.base_model, new.origin),
        created_by_user_id=actor.user_id,
        created_at=now,
        updated_at=now,
        **{key: _plain(getattr(said, key)) for key in Description.__slots__},
    )
    version.framework = framework_of(new)
    version.size_category = said.size_category or size_category(parameters, tree.size_bytes)
    version.parameter_count = parameters if parameters is not None and parameters <= _MOST_PARAMETERS else None
    session.add(version)
    session.flush()
    note_parents(session, version)
    return version


def _stamped(actor: Actor, new: NewVersion, at: str) -> dict[str, Any]:
    """The publisher's origin with our own stamp over whatever he wrote in its place."""
    return {**new.origin, "registry": {"published_by": actor.name, "via": new.via, "at": at}}


def artifacts_hash(artifacts: Mapping[str, str]) -> str:
    """`sha256:` and the SHA-256 of what `json.dumps(artifacts, sort_keys=True)` writes (contract section 4)."""
    return "sha256:" + hashlib.sha256(json.dumps(dict(artifacts), sort_keys=True).encode()).hexdigest()


_FRAMEWORKS = (
    ("safetensors", (".safetensors",)),
    ("gguf", (".gguf",)),
    ("onnx", (".onnx",)),
    ("pytorch", (".pt", ".pth", ".bin")),
)


def framework_of(new: NewVersion) -> str:
    """The framework said, or what the files' names tell (contract 4, Publish)."""
    if new.description.framework:
        return new.description.framework
    names = [path.lower() for path in new.artifacts]
    for framework, endings in _FRAMEWORKS:
        if any(name.endswith(endings) for name in names):
            return framework
    return "safetensors"
