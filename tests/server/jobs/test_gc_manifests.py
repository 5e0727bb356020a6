"""Clean-up and repositories: what a manifest names stays, what git-lfs sent stays, and what was only pushed goes."""

from sqlalchemy import select, update

from steelyard.server.db.tables import BlobUpload, RepositoryBlob
from tests.house.people import oid_of
from tests.server.doors.oci.pushing import Repository, digest_of, files_manifest
from tests.server.jobs.conftest import DAY, Yard

FILES = {"sbom.json": b"what is in it"}


def repository(yard: Yard, name: str = "ada/tiny") -> Repository:
    return Repository(yard.ada, name)


def test_what_a_manifest_names_stays_until_it_goes(yard: Yard) -> None:
    repo = repository(yard)
    pushed = repo.push_files("sbom", FILES)
    assert pushed.status_code == 201, pushed.text
    assert yard.collect().blobs == ()
    assert repo.get(f"blobs/{oid_of(FILES['sbom.json'])}").content == FILES["sbom.json"]
    assert repo.delete(f"manifests/{pushed.headers['docker-content-digest']}").status_code == 202
    assert yard.collect(grace_seconds=DAY).blobs == ()
    previewed = yard.preview()
    assert {oid for oid, _ in yard.collect().blobs} == {oid_of(FILES["sbom.json"]), oid_of(b"{}")}
    assert {oid for oid, _ in previewed.blobs} == {oid_of(FILES["sbom.json"]), oid_of(b"{}")}
    assert repo.get(f"blobs/{oid_of(FILES['sbom.json'])}").status_code == 404


def test_an_untagged_manifest_keeps_its_bytes(yard: Yard) -> None:
    """Signatures have no tags."""
    repo = repository(yard)
    manifest = files_manifest(FILES, subject={"mediaType": "x/y", "digest": digest_of(b"absent"), "size": 6})
    for data in (b"{}", *FILES.values()):
        repo.push_blob(data)
    assert repo.push_manifest(manifest).status_code == 201
    assert yard.collect().blobs == ()


def test_what_was_pushed_and_nothing_names_goes_after_its_grace_with_its_link(yard: Yard) -> None:
    repo = repository(yard)
    repo.push_blob(b"pushed and forgotten")
    assert yard.collect(grace_seconds=DAY).blobs == ()
    assert yard.collect().blobs == ((oid_of(b"pushed and forgotten"), 20),)
    with yard.database.read() as session:
        assert session.scalars(select(RepositoryBlob)).all() == []


def test_what_is_kept_for_git_stays_until_the_model_goes(yard: Yard) -> None:
    repo = repository(yard)
    repo.push_blob(b"of a git repository")
    with yard.database.write() as session:
        session.execute(update(RepositoryBlob).values(kept=True))
    yard.age(days=2)
    assert yard.collect().blobs == ()
    assert yard.ada.delete("/org/ada/models/tiny").status_code == 204
    assert yard.collect(grace_seconds=DAY).blobs == ()
    assert yard.collect().blobs == ((oid_of(b"of a git repository"), 19),)


def test_a_deleted_model_leaves_nothing_of_its_manifests(yard: Yard) -> None:
    repo = repository(yard)
    assert repo.push_files("sbom", FILES).status_code == 201
    assert yard.ada.delete("/org/ada/models/tiny").status_code == 204
    assert len(yard.collect().blobs) == 2
    assert yard.collect().blobs == ()


def test_an_upload_that_nobody_goes_on_with_goes_with_what_arrived(yard: Yard) -> None:
    repo = repository(yard)
    location = repo.patch(repo.begin(), content=b"half of it").headers["location"]
    with yard.database.read() as session:
        [upload] = session.scalars(select(BlobUpload)).all()
    assert [name.name for name in yard.store.scan() if name.kind == "stage"] == [upload.stage_id]
    assert yard.collect().uploads == ()
    assert [one.id for one in yard.preview(upload_ttl_seconds=-1).uploads] == [upload.stage_id]
    assert [one.id for one in yard.collect(upload_ttl_seconds=-1).uploads] == [upload.stage_id]
    assert list(yard.store.scan()) == []
    assert repo.get(location).status_code == 404
