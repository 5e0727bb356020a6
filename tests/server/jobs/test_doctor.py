"""The doctor finds each thing that can be wrong with each part, shows no secret, and leaves everything as it was."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from steelyard.server.app import open_registry, open_store
from steelyard.server.db.carrying import make_marked, tables
from steelyard.server.db.engine import Database
from steelyard.server.db.migrate import downgrade, set_revision
from steelyard.server.jobs.doctor import Note, examine
from steelyard.server.settings import Settings
from tests.house.openid import own_provider
from tests.house.postgres import PASSWORD, postgres, postgres_url
from tests.house.seaweed import Seaweed, seaweed
from tests.house.servers import free_port
from tests.house.valkey import valkey_server, valkey_url

pytestmark = pytest.mark.only("sqlite", "disk")  # they bring the other engines themselves

Settled = dict[str, Any]


@pytest.fixture
def embedded(tmp_path: Path) -> Settled:
    """The default registry, as a first start leaves it."""
    chosen = {"data": tmp_path / "data", "free_disk_floor_bytes": 0}
    open_registry(Settings(**chosen)).close()  # type: ignore[arg-type]
    return chosen


@pytest.fixture
def company(tmp_path: Path) -> Settled:
    """PostgreSQL, S3 and Valkey, empty but for the tables; no data directory."""
    return {
        "data": tmp_path / "unused",
        "database": postgres_url(),
        **seaweed().settings(),
        "limits": valkey_url(),
        "part_size_bytes": 5 * 2**20,
    }


def look(chosen: Settled) -> list[Note]:
    return examine(Settings(**chosen), open_store)


def faults(chosen: Settled) -> list[tuple[str, str]]:
    """`(part, what)` of what is wrong."""
    return [(note.part, note.what) for note in look(chosen) if note.state == "fault"]


def the_fault(chosen: Settled, part: str) -> str:
    """The one thing that is wrong; what to do about it is said, too."""
    [note] = [note for note in look(chosen) if note.state == "fault"]
    assert note.part == part
    assert note.advice
    return note.what


def notes(chosen: Settled) -> list[str]:
    return [note.what for note in look(chosen) if note.state == "note"]


def test_a_fresh_registry_is_healthy_and_stays_as_it_was(embedded: Settled) -> None:
    def files() -> list[str]:
        return sorted(str(path) for path in embedded["data"].rglob("*") if not path.name.endswith(("-wal", "-shm")))

    before = files()
    found = look(embedded)
    assert [note for note in found if note.state != "ok"] == []
    assert {note.part for note in found} == {"settings", "database", "store", "limits"}
    assert files() == before or set(files()) - set(before) == shards(embedded["data"], before)
    assert rows_of(Settings(**embedded).database_url) == {"signing_keys": 1}


def shards(data: Path, before: list[str]) -> set[str]:
    """The two empty folders that a blob lay in: a store keeps these."""
    made = {str(path) for path in (data / "store/blobs/sha256").rglob("*") if path.is_dir()} - set(before)
    assert len(made) == 2
    return made


def rows_of(url: str) -> dict[str, int]:
    """How many rows there are, by table; those that have none are left out."""
    with closing(Database(url)) as database, database.read() as session:
        counts = {table.name: session.scalar(sa.select(sa.func.count()).select_from(table)) for table in tables()}
        counts["garbage"] = session.scalar(sa.text("SELECT count(*) FROM garbage"))
    return {name: count for name, count in counts.items() if count}


def test_nothing_is_made_where_there_is_no_registry(tmp_path: Path) -> None:
    chosen = {"data": tmp_path / "a" / "b"}
    assert faults(chosen) == []
    assert "there is no registry yet" in notes(chosen)[0]
    assert list(tmp_path.iterdir()) == []


def test_a_registry_on_engines_is_healthy_and_they_are_left_as_they_were(company: Settled) -> None:
    found = look(company)
    assert [note for note in found if note.state != "ok"] == []
    assert {note.part for note in found} == {"settings", "database", "store", "limits", "clock"}
    assert any("by signed links" in note.what for note in found)
    assert everything_in(seaweed(), company["store"]) == []
    assert rows_of(company["database"]) == {}
    with closing(valkey_server().client(company["limits"])) as client:
        assert client.dbsize() == 0
    assert not company["data"].exists()


def everything_in(store: Seaweed, url: str) -> list[Any]:
    """Objects and unfinished uploads below a prefix."""
    prefix = url.partition("://")[2].partition("/")[2]
    with closing(store.client()) as client:
        objects = client.list_objects_v2(Bucket=store.bucket, Prefix=prefix).get("Contents", [])
        uploads = client.list_multipart_uploads(Bucket=store.bucket, Prefix=prefix).get("Uploads", [])
    return [*objects, *uploads]


def test_bytes_that_go_through_the_registry_are_rehearsed_so(company: Settled) -> None:
    found = look(company | {"store_direct": False})
    assert [note for note in found if note.state != "ok"] == []
    assert any("joins parts of 5242880 bytes" in note.what for note in found)
    assert everything_in(seaweed(), company["store"]) == []


# --- the database


def test_a_database_that_is_not_there_is_told_without_its_password(company: Settled) -> None:
    gone = f"postgresql://steelyard:se%2Fcret@127.0.0.1:{free_port()}/registry"
    what = the_fault(company | {"database": gone}, "database")
    assert "refused" in what
    assert not any("cret" in note.what + note.advice for note in look(company | {"database": gone}))


def test_secrets_are_shown_nowhere(company: Settled) -> None:
    odd = company | {
        "database": "postgresql://somebody:very-secret@[::1",
        "limits": "redis://:very-secret@127.0.0.1:x/0",
        "s3_endpoint": "http://user:very-secret@127.0.0.1:1",
    }
    found = look(odd)
    assert {note.part for note in found if note.state == "fault"} >= {"database", "limits"}
    assert not any("very-secret" in note.what + note.advice for note in found)


@pytest.mark.parametrize("url", ["nonsense", "postgresql://u:a@b:very-secret/x@127.0.0.1/registry"])
def test_a_url_that_is_none_is_told_in_plain_words(company: Settled, url: str) -> None:
    found = the_fault(company | {"database": url}, "database")
    assert "postgresql://" in found and "very-secret" not in found


def test_a_database_that_does_not_exist_is_named_as_what_it_is(company: Settled) -> None:
    url = company["database"].rpartition("/")[0]
    assert "There is no database of the configured name" in the_fault(company | {"database": f"{url}/none"}, "database")


def test_tables_of_another_release_are_told_apart(company: Settled) -> None:
    with closing(Database(company["database"])) as database:
        downgrade(database, "0001")
        assert "its tables are those of an earlier release" in notes(company)
        with database.write() as session:
            set_revision(session, "9999")
    assert "newer release" in the_fault(company, "database")


def test_an_empty_database_a_strange_one_and_half_a_copy_are_told_apart(company: Settled) -> None:
    empty = company | {"database": postgres_url(migrated=False)}
    assert "is empty" in notes(empty)
    name = empty["database"].rpartition("/")[2]
    with postgres().administering(name) as connection:
        connection.execute("CREATE TABLE accounting (id int)")
        assert any("something else (accounting)" in note for note in notes(empty))
        connection.execute("DROP TABLE accounting")
    with closing(Database(empty["database"])) as database:
        make_marked(database, "of something")
    assert "copy that was not ended" in the_fault(empty, "database")


def test_a_database_that_only_reads_is_a_fault(company: Settled) -> None:
    name = company["database"].rpartition("/")[2]
    with postgres().administering() as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
    assert "the database only reads" in [what for _, what in faults(company)]


def test_a_user_without_rights_is_a_fault(company: Settled) -> None:
    name = company["database"].rpartition("/")[2]
    with postgres().administering(name) as connection:
        connection.execute(f"CREATE ROLE weak_{name} LOGIN PASSWORD 'weak'".encode())
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO weak_{name}".encode())
    weak = company["database"].replace(f"steelyard:{PASSWORD}", f"weak_{name}:weak")
    found = [what for _, what in faults(company | {"database": weak})]
    assert any("may not make tables" in what for what in found)
    assert any("lacks rights" in what for what in found)


def test_a_file_that_is_no_database_is_a_fault(embedded: Settled) -> None:
    (embedded["data"] / "steelyard.sqlite3").write_bytes(b"this is no database, it is a text" * 200)
    for log in embedded["data"].glob("*-wal"):
        log.unlink()
    assert "not a database" in the_fault(embedded, "database")


def test_a_database_that_is_locked_is_a_fault(embedded: Settled) -> None:
    quick = embedded | {"database_timeout_seconds": 0.1}
    with closing(Database(Settings(**embedded).database_url)) as database, database.write():
        assert "locked by another process" in the_fault(quick, "database")


# --- the store


def test_a_store_that_cannot_be_used_is_told_in_its_words(company: Settled, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such bucket" in the_fault(company | {"store": "s3://none-such/here"}, "store")
    nobody = f"http://127.0.0.1:{free_port()}"
    assert "cannot be reached" in the_fault(company | {"s3_endpoint": nobody}, "store")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another secret")
    found = look(company)
    assert "refuses the signature" in next(note.what for note in found if note.state == "fault")
    assert not any("another secret" in note.what for note in found)


def test_links_that_lead_nowhere_are_a_fault(company: Settled) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    assert "does not answer from here" in the_fault(company | {"s3_public_endpoint": nobody}, "store")
    assert everything_in(seaweed(), company["store"]) == []


def test_a_disk_below_its_floor_and_a_store_that_is_gone_are_faults(embedded: Settled) -> None:
    assert "less than the floor" in the_fault(embedded | {"free_disk_floor_bytes": 2**60}, "store")
    store = embedded["data"] / "store"
    store.rename(embedded["data"] / "moved")
    assert "there is no" in the_fault(embedded, "store")
    assert not store.exists()


# --- settings, limits, clocks


@pytest.mark.parametrize(
    ("more", "state", "what"),
    [
        ({"part_size_bytes": 65536}, "note", "less than S3 takes"),
        ({"store": "memory:", "s3_endpoint": None}, "fault", "loses all bytes"),
        ({"limits": "memory"}, "note", "each grants the whole budget"),
        ({"store": None, "s3_endpoint": None}, "note", "not the bytes in the data directory"),
        ({"store": None}, "note", "store is no S3 store"),
        ({"trusted_proxies": "10.0.0.1"}, "note", "public_url is not set"),
        ({"host": "0.0.0.0"}, "note", "nothing says https"),
        ({"gc_grace_seconds": 60}, "note", "is short"),
        ({"gc_interval_seconds": 0}, "note", "nothing is cleaned up"),
        ({"upload_ttl_seconds": 60}, "note", "links outlive"),
    ],
)
def test_odd_settings_are_told(company: Settled, more: Settled, state: str, what: str) -> None:
    found = look(company | more)
    assert [note.state for note in found if note.part == "settings" and what in note.what] == [state]


def test_a_data_directory_that_others_may_enter_is_told(embedded: Settled) -> None:
    embedded["data"].chmod(0o755)
    assert any("may be entered by other users" in note for note in notes(embedded))


def test_an_engine_of_limits_that_does_not_answer_is_a_fault(company: Settled) -> None:
    what = the_fault(company | {"limits": f"redis://127.0.0.1:{free_port()}/0"}, "limits")
    assert "does not count" in what
    assert "is no budget" in the_fault(company | {"limit_read": "often"}, "limits")


class _Late(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response_only(403)
        self.send_header("Date", "Mon, 06 Jul 2026 00:00:00 GMT")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def clock_that_is_wrong() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Late)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_clock_that_is_wrong_is_a_fault(company: Settled) -> None:
    def open_elsewhere(settings: Settings) -> Any:
        return open_store(Settings(**company | {"store_direct": False}))

    with clock_that_is_wrong() as endpoint:
        found = examine(Settings(**company | {"store_direct": False, "s3_endpoint": endpoint}), open_elsewhere)
    [fault] = [note for note in found if note.state == "fault"]
    assert (fault.part, "behind this machine's" in fault.what) == ("clock", True)


def test_a_sign_in_provider_that_is_well_is_told_and_one_that_is_not_is_a_fault(embedded: Settled) -> None:
    with own_provider() as provider:
        chosen = {"oidc_issuer": provider.issuer, "oidc_client_id": "x", "oidc_client_secret": "hush-hush"}
        said = {note.what: note.state for note in look(embedded | chosen) if note.part == "sign-in"}
        assert [state for what, state in said.items() if what.startswith(f"{provider.issuer} answers")] == ["ok"]
        assert [state for what, state in said.items() if "sends people back" in what] == ["note"]
        provider.document = {"issuer": "https://hush-hush.example.org"}
        what = the_fault(embedded | chosen, "sign-in")
        assert "says that it is" in what and "hush-hush" not in what
    assert "does not answer" in the_fault(embedded | chosen, "sign-in")
