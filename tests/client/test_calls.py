"""Every operation of the contract that the client offers, once, against the real server."""

import io
import os
import tarfile
import urllib.request

import pytest

from steelyard.client import Client
from steelyard.client.errors import AuthenticationFailed, Conflict, Forbidden, InvalidReference, NotFound
from tests.client.conftest import MakeFolder
from tests.house import RunningServer

WEIGHTS = os.urandom(5000)


@pytest.fixture
def published(client: Client, model: str, make_folder: MakeFolder) -> str:
    """A model with 1.0.0, 1.1.0 and 2.0.0-rc.1."""
    for version, accuracy in (("1.0.0", 0.5), ("1.1.0", 0.75), ("2.0.0-rc.1", 0.8)):
        folder = make_folder({"w.safetensors": WEIGHTS, "v.txt": version.encode()})
        client.push(
            folder, f"{model}:{version}", metadata={"metrics": {"accuracy": accuracy}, "tags": ["t1"], "license": "mit"}
        )
    return model


def test_versions_are_listed_resolved_and_compared(client: Client, published: str) -> None:
    versions = client.list_model_versions(published)
    assert versions.versions == ("1.1.0", "1.0.0", "2.0.0-rc.1")
    assert versions.latest is not None and versions.latest.version == "1.1.0"
    assert client.get_model_latest(published).version == "1.1.0"
    assert client.get_model_detail(published, "~1.0.0").version == "1.0.0"
    assert client.resolve(f"{published}@2.0.0-rc.1").version == "2.0.0-rc.1"
    comparison = client.compare_model_versions(published, ["1.0.0", "1.1.0"])
    assert [each.metrics["accuracy"] for each in comparison.versions] == [0.5, 0.75]
    assert comparison.metric_keys == ("accuracy",)


def test_models_are_listed_and_filtered(client: Client, published: str) -> None:
    bare = published.split("/")[1]
    page = client.list_models("admin", name=bare)
    assert ([each.name for each in page.models], page.total, page.has_next) == ([published], 1, False)
    assert page.models[0].version_count == 3
    assert client.list_models("admin", name=bare, tags=["t1", "t2"], license=["mit"]).total == 1
    assert client.list_models("admin", name=bare, tags=["t2"]).total == 0
    assert published in {each.name for each in client.iter_models("admin", limit=1, sort_by="name", sort_dir="asc")}
    facets = client.get_model_facets("admin", name=bare)
    assert (facets.licenses, facets.tags, facets.filtered_total) == (("mit",), ("t1",), 1)


def test_aliases_are_set_moved_listed_and_removed(client: Client, published: str) -> None:
    assert client.set_model_alias(published, "1.0.0", "prod").version == "1.0.0"
    assert client.set_model_alias(published, "latest", "prod", protected=True).version == "1.1.0"
    [alias] = client.list_model_aliases(published).aliases
    assert (alias.alias, alias.version, alias.protected) == ("prod", "1.1.0", True)
    assert ("1.0.0", "1.1.0") in {(move.from_version, move.to_version) for move in alias.history}
    assert alias.history[0].by == "admin"
    with pytest.raises(Conflict, match="prod"):
        client.delete_model(published, "1.1.0")
    client.remove_model_alias(published, "1.1.0", "prod")
    assert client.list_model_aliases(published).aliases == ()


def test_metrics_merge_and_none_removes(client: Client, published: str) -> None:
    detail = client.update_model_metrics(published, "1.0.0", {"loss": 0.1, "note": "ok", "accuracy": None})
    assert detail.metrics == {"loss": 0.1, "note": "ok"}


def test_a_yank_hides_and_an_unyank_brings_back(client: Client, published: str) -> None:
    yanked = client.yank_model(published, "1.1.0", "wrong tokenizer")
    assert yanked.yanked is not None and yanked.yanked.reason == "wrong tokenizer"
    assert client.get_model_latest(published).version == "1.0.0"
    assert client.unyank_model(published, "1.1.0").yanked is None
    assert client.get_model_latest(published).version == "1.1.0"


def test_visibility_and_deletion(client: Client, published: str) -> None:
    assert client.update_model_visibility(published, is_public=True).is_public
    client.delete_model(published, "1.1.0")
    assert client.get_model_latest(published).version == "1.0.0"
    client.delete_whole_model(published)
    with pytest.raises(NotFound):
        client.get_model_latest(published)


def test_a_whole_version_comes_as_a_tar_without_a_token(client: Client, published: str) -> None:
    download = client.initiate_model_download(published, "1.0.0")
    assert download.status == "ready" and download.url is not None
    with urllib.request.urlopen(download.url) as response, tarfile.open(fileobj=io.BytesIO(response.read())) as tar:
        member = tar.extractfile(next(name for name in tar.getnames() if name.endswith("w.safetensors")))
        assert member is not None and member.read() == WEIGHTS
    assert client.get_model_download_status("admin", download.download_id).status == "ready"
    activity = client.list_model_activity("admin", model_name=published.split("/")[1])
    assert (activity.total, activity.items[0].model_version) == (1, "1.0.0")


def test_one_artifact_is_read_as_a_stream(client: Client, published: str) -> None:
    oid = client.get_model_latest(published).artifacts["w.safetensors"]
    with client.get_model_artifact(published, "latest", "w.safetensors") as stream:
        assert (stream.etag, stream.size_bytes) == (oid, len(WEIGHTS))
        assert b"".join(stream) == WEIGHTS
    with client.get_model_artifact(published, "1.0.0", "w.safetensors", first_byte=10, length_bytes=5) as stream:
        assert stream.read() == WEIGHTS[10:15]


def test_publishing_by_hand_needs_one_number(client: Client, published: str) -> None:
    artifacts = client.get_model_latest(published).artifacts
    detail, created = client.publish_model(published, artifacts=artifacts, bump="patch", idempotency_key="k1")
    assert (detail.version, created) == ("1.1.1", True)
    detail, created = client.publish_model(published, artifacts=artifacts, bump="patch", idempotency_key="k1")
    assert (detail.version, created) == ("1.1.1", False)
    with pytest.raises(InvalidReference):
        client.publish_model(published, artifacts=artifacts)


def test_people_organisations_and_tokens(client: Client, live: RunningServer) -> None:
    made = client.create_user("ann", email_address="ann@example.com")
    assert made.key is not None
    assert client.create_organization("acme", name="Acme", owner="ann").key == "acme"
    with Client(live.url, made.key) as ann:
        assert (ann.get_user().username, ann.get_user().email_address) == ("ann", "ann@example.com")
        assert {each.key for each in ann.list_organizations()} == {"ann", "acme"}
        assert ann.get_organization("acme").name == "Acme"
        client.create_user("bob")
        assert ann.add_member("acme", "bob", "reader").role == "reader"
        assert ann.set_member_role("acme", "bob", "contributor").role == "contributor"
        assert {each.username for each in ann.list_members("acme")} == {"ann", "bob"}
        ann.remove_member("acme", "bob")
        with pytest.raises(Conflict):
            ann.remove_member("acme", "ann")
        with pytest.raises(Forbidden):
            ann.list_users()
        narrow = ann.create_api_key("ci", org="acme", access="read", expires_at="2099-01-01T00:00:00Z")
        assert (narrow.org, narrow.access, narrow.expires_at) == ("acme", "read", "2099-01-01T00:00:00.000000Z")
        assert narrow.id in {each.id for each in ann.list_api_keys()}
        assert all(each.key is None for each in ann.list_api_keys())
        ann.delete_api_key(narrow.id)
        assert "member" in " ".join(event.action for event in ann.list_audit_events("acme", limit=50).events)
        assert client.set_user("ann", disabled=True).disabled
        with pytest.raises(AuthenticationFailed):
            ann.get_user()
        assert not client.set_user("ann", disabled=False).disabled
    fresh = client.create_user_token("ann")
    with Client(live.url, fresh.key) as ann:
        assert ann.get_user().username == "ann"
    names, cursor = [], None
    while True:
        page = client.list_users(limit=1, cursor=cursor)
        names += [each.username for each in page.users]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert {"admin", "ann", "bob"} <= set(names)


def test_service_accounts_have_tokens_of_their_own(client: Client, live: RunningServer, published: str) -> None:
    assert client.create_service_account("admin", "robot", "reader").role == "reader"
    assert client.set_service_account_role("admin", "robot", "contributor").role == "contributor"
    key = client.create_service_account_key("admin", "robot", key_name="ci", access="read")
    with Client(live.url, key.key) as robot:
        assert robot.get_model_latest(published).name == published
        with pytest.raises(Forbidden):
            robot.update_model_metrics(published, "1.0.0", {"x": 1})
        assert key.id in {each.id for each in client.list_service_account_keys("admin", "robot")}
        client.delete_service_account_key("admin", "robot", key.id)
        with pytest.raises(AuthenticationFailed):
            robot.get_model_latest(published)
    assert [each.name for each in client.list_service_accounts("admin")] == ["robot"]
    client.remove_service_account("admin", "robot")
    assert client.list_service_accounts("admin") == ()


def test_a_stranger_learns_nothing(live: RunningServer, published: str) -> None:
    with Client(live.url) as nobody, pytest.raises(AuthenticationFailed):
        nobody.get_model_latest(published)
    with Client(live.url) as nobody:
        assert nobody.get_config()["api_version"] == "v1"
