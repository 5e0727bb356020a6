"""PostgreSQL as the registry uses it: one writer, bounds on every wait, plain words for every failure, no restart."""

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from steelyard.server.db import postgres as dialect
from steelyard.server.db.engine import Database
from steelyard.server.db.migrate import downgrade, migrate
from steelyard.server.db.tables import Org, User
from steelyard.server.errors import DatabaseFailed, DatabaseTimeout, RegistryError
from tests.house.postgres import PASSWORD, Postgres, postgres, postgres_url
from tests.house.wires import Fault, Wire

TIMEOUT = 0.6
WITHIN = TIMEOUT + 1.5  # for slow machines


@pytest.fixture
def url() -> str:
    """A database with this release's tables."""
    return postgres_url()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """It, asked by one server."""
    with closing(Database(url, timeout_seconds=TIMEOUT)) as opened:
        yield opened


@pytest.fixture
def other(url: str) -> Iterator[Database]:
    """It, asked by another server."""
    with closing(Database(url, timeout_seconds=TIMEOUT)) as opened:
        yield opened


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A wire to the engine, to be broken."""
    made = Wire(postgres().port)
    yield made
    made.close()


@pytest.fixture
def wired(url: str, wire: Wire) -> Iterator[Database]:
    """The database at the end of the wire."""
    with closing(Database(url.replace(f":{postgres().port}/", f":{wire.port}/"), timeout_seconds=TIMEOUT)) as opened:
        yield opened


@pytest.fixture
def engine() -> Iterator[Postgres]:
    """An engine to be stopped and started."""
    made = Postgres().start()
    yield made
    made.discard()


@contextmanager
def failing(kind: type[RegistryError], words: str) -> Iterator[None]:
    """It fails so, in time, and tells nobody what is nobody's business."""
    began = time.monotonic()
    with pytest.raises(kind, match=words) as caught:
        yield
    assert time.monotonic() - began < WITHIN
    assert type(caught.value) is kind
    for secret in (PASSWORD, "127.0.0.1", "postgresql", "SELECT"):
        assert secret not in caught.value.detail


def write(database: Database, slug: str = "a") -> None:
    with database.write() as session:
        session.add(Org(slug=slug, name=slug))


def count(database: Database) -> int:
    with database.read() as session:
        return session.query(Org).count()


# --- transactions


def test_a_reader_sees_one_state_and_changes_nothing(database: Database, other: Database) -> None:
    with database.read() as session:
        assert session.query(Org).count() == 0
        write(other)
        assert session.query(Org).count() == 0, "what comes later is for later readers"
    assert count(database) == 1
    with failing(DatabaseFailed, "only reads"), database.read() as session:
        session.execute(text("DELETE FROM orgs"))


def test_a_query_that_readers_repeat_is_planned_once(database: Database) -> None:
    """The driver forgets what it prepared when it sees a ROLLBACK, and so would have every request plan anew."""
    for _ in range(20):
        count(database)
    with database.read() as session:
        planned = session.scalar(text("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%orgs%'"))
    assert planned == 1


def test_a_writer_that_raises_changes_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as session:
        session.add(Org(slug="a", name="a"))
        session.flush()
        raise ZeroDivisionError
    assert count(database) == 0


@pytest.mark.parametrize("theirs", ["database", "other"])
def test_a_second_writer_waits_for_his_turn_and_not_for_ever(
    database: Database, theirs: str, request: pytest.FixtureRequest
) -> None:
    second: Database = request.getfixturevalue(theirs)
    with database.write():
        with ThreadPoolExecutor(1) as threads, failing(DatabaseTimeout, "locked by another writer"):
            threads.submit(write, second).result()
        waiting = threading.Thread(target=write, args=(second,))
        waiting.start()
        time.sleep(TIMEOUT / 4)
        assert count(database) == 0
    waiting.join()
    assert count(database) == 1


def test_writers_of_rows_of_their_own_run_beside_each_other_and_beside_no_other(
    database: Database, other: Database
) -> None:
    with database.write(beside=True), other.write(beside=True) as session:
        session.add(Org(slug="beside", name=""))
        with failing(DatabaseTimeout, "another writer"):
            write(other)
    with database.write(), failing(DatabaseTimeout, "another writer"), other.write(beside=True):
        pass
    assert count(database) == 1


def test_writers_of_many_threads_and_servers_lose_nothing(database: Database, other: Database) -> None:
    """Each reads what is there and writes one more: two at once would write the same."""

    def add(number: int) -> None:
        with (database, other)[number % 2].write() as session:
            session.add(Org(slug=f"n{session.query(Org).count()}", name=""))

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(add, range(40)))
    assert count(database) == 40


def test_a_crowd_of_waiting_writers_keeps_no_reader_from_reading(database: Database, other: Database) -> None:
    def write_in_vain(_number: int) -> bool:
        with pytest.raises(DatabaseTimeout):
            write(database)
        return True

    with ThreadPoolExecutor(2 * dialect.CONNECTIONS) as threads, other.write():
        crowd = threads.map(write_in_vain, range(2 * dialect.CONNECTIONS))
        time.sleep(TIMEOUT / 4)
        began = time.monotonic()
        assert count(database) == 0
        assert time.monotonic() - began < TIMEOUT / 2
        assert all(crowd)


def test_several_servers_fit_into_an_engine_as_it_comes(url: str) -> None:
    with ThreadPoolExecutor(5 * dialect.CONNECTIONS) as threads:
        servers = [Database(url, timeout_seconds=20) for _ in range(5)]
        everybody_reads = threading.Barrier(5 * dialect.CONNECTIONS)

        def read(number: int) -> int:
            with servers[number % 5].read() as session:
                everybody_reads.wait(20)
                return session.query(Org).count()

        assert sum(threads.map(read, range(5 * dialect.CONNECTIONS))) == 0
        for server in servers:
            server.close()


# --- waits with an end


def test_a_statement_that_takes_too_long_is_broken_off(database: Database) -> None:
    with failing(DatabaseTimeout, "too long"), database.read() as session:
        session.execute(text("SELECT pg_sleep(30)"))
    with database.read(patient=True) as session:
        session.execute(text(f"SELECT pg_sleep({2 * TIMEOUT})"))
    assert count(database) == 0


def test_a_server_that_says_nothing_behind_an_open_socket_is_given_up(wired: Database, wire: Wire) -> None:
    assert count(wired) == 0
    with wire.broken(Fault("silent")), failing(DatabaseTimeout, "did not answer in time"):
        count(wired)
    assert count(wired) == 0, "and served again"


def test_a_server_that_falls_silent_in_a_transaction_is_given_up(wired: Database, wire: Wire) -> None:
    with wire.broken(Fault("silent", at=b"FROM orgs")), failing(DatabaseTimeout, "did not answer in time"):
        count(wired)
    write(wired)
    assert count(wired) == 1


def test_nobody_is_connected_for_ever(url: str, wire: Wire) -> None:
    """libpq knows no shorter bound than two seconds."""
    silent = Database(url.replace(f":{postgres().port}/", f":{wire.port}/"), timeout_seconds=0.1)
    began = time.monotonic()
    with wire.broken(Fault("silent")), pytest.raises(DatabaseTimeout, match="did not answer in time"):
        count(silent)
    assert time.monotonic() - began < 2 + WITHIN
    silent.close()


def test_no_more_wait_than_there_are_connections(database: Database) -> None:
    with ThreadPoolExecutor(dialect.CONNECTIONS) as threads:
        held, let_go = threading.Barrier(dialect.CONNECTIONS + 1), threading.Event()

        def hold(_number: int) -> bool:
            with database.read():
                held.wait(20)
                return let_go.wait(20)

        holding = threads.map(hold, range(dialect.CONNECTIONS))
        held.wait(20)
        with failing(DatabaseTimeout, "no connection became free"):
            count(database)
        let_go.set()
        assert all(holding)


# --- connections that die


def test_an_engine_that_was_restarted_is_served_at_once(engine: Postgres) -> None:
    with closing(Database(engine.fresh(), timeout_seconds=TIMEOUT)) as database:
        for use in (count, write, count):
            use(database)
            engine.restart()
            use(database) if use is count else write(database, "b")
        engine.stop("immediate")
        with failing(DatabaseFailed, r"cannot be reached"):
            count(database)
        with failing(DatabaseFailed, "cannot be reached"):
            write(database)
        engine.start()
        assert count(database) == 2


def test_a_connection_that_the_engine_ended_is_noticed_before_anything_is_done(database: Database) -> None:
    write(database)
    with postgres().administering() as connection:
        name = database.engine.url.database
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    write(database, "b")
    assert count(database) == 2


def test_what_is_lost_in_the_middle_is_not_begun_anew(wired: Database, wire: Wire) -> None:
    with wire.broken(Fault("cut", at=b"INSERT", times=1)), failing(DatabaseFailed, "Nothing was changed"):
        write(wired)
    assert count(wired) == 0


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_commit_that_nobody_answered_may_or_may_not_have_been_kept_and_says_so(
    wired: Database, wire: Wire, way: str
) -> None:
    fault = Fault("cut", at=b"COMMIT\0", way=way, times=1)  # type: ignore[arg-type]
    with wire.broken(fault), failing(DatabaseFailed, "may have been kept or not"):
        write(wired)
    assert count(wired) in (0, 1)


# --- what is wrong, in plain words


def test_an_engine_that_is_not_there_is_named_so(caplog: pytest.LogCaptureFixture) -> None:
    nobody = Database("postgresql://steelyard:hush@127.0.0.1:1/registry", timeout_seconds=TIMEOUT)
    with failing(DatabaseFailed, "cannot be reached"):
        count(nobody)
    assert "Connection refused" in caplog.text, "the operator finds it in the log"
    assert "hush" not in caplog.text


def test_a_database_that_is_not_there_is_named_so(url: str) -> None:
    with failing(DatabaseFailed, "no database of the configured name"), closing(Database(f"{url}_none")) as database:
        count(database)


def test_a_full_engine_is_named_so(engine: Postgres) -> None:
    url = engine.fresh()
    engine.stop()
    engine.options.update(max_connections="4", superuser_reserved_connections="0", max_wal_senders="0")
    engine.start()
    with closing(psycopg.connect(url)), closing(psycopg.connect(url)), closing(psycopg.connect(url)):
        last = psycopg.connect(url)
        with closing(Database(url, timeout_seconds=TIMEOUT)) as database:
            with failing(DatabaseFailed, "no connection left"):
                count(database)
            last.close()
            time.sleep(0.2)
            assert count(database) == 0


def test_a_wrong_password_is_named_so_and_told_nobody(engine: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    url = engine.fresh()
    with engine.administering() as connection:
        connection.execute(f"ALTER USER steelyard PASSWORD '{PASSWORD}'")
        (engine.data / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        connection.execute("SELECT pg_reload_conf()")
    with closing(Database(url, timeout_seconds=TIMEOUT)) as database:
        assert count(database) == 0
    with closing(Database(url.replace(PASSWORD, "hush"), timeout_seconds=TIMEOUT)) as database:
        refused = failing(DatabaseFailed, "user or password")
        with refused, caplog.at_level("DEBUG"):
            count(database)
    assert "hush" not in caplog.text


def test_a_standby_is_named_so(engine: Postgres) -> None:
    url = engine.fresh()
    engine.stop()
    (engine.data / "standby.signal").touch()
    engine.start()
    with closing(Database(url, timeout_seconds=TIMEOUT)) as database:
        assert count(database) == 0
        with failing(DatabaseFailed, "only reads"):
            write(database)


def test_a_user_without_rights_is_named_so(url: str, database: Database) -> None:
    with postgres().administering() as connection:
        connection.execute("DROP ROLE IF EXISTS lowly")
        connection.execute("CREATE ROLE lowly LOGIN")
    lowly = Database(url.replace("steelyard:", "lowly:"), timeout_seconds=TIMEOUT)
    with closing(lowly), failing(DatabaseFailed, "lacks rights"):
        count(lowly)


def test_the_owner_of_the_database_needs_no_other_right() -> None:
    url = postgres_url(migrated=False)
    with postgres().administering() as connection:
        connection.execute("DROP ROLE IF EXISTS owner")
        connection.execute("CREATE ROLE owner LOGIN NOSUPERUSER")
        connection.execute(f"ALTER DATABASE {url.rpartition('/')[2]} OWNER TO owner")
    with closing(Database(url.replace("steelyard:", "owner:"), timeout_seconds=5)) as database:
        migrate(database)
        write(database)
        assert count(database) == 1
        downgrade(database, "base")


def test_of_several_hosts_the_one_that_writes_is_found(url: str) -> None:
    here, name = f"127.0.0.1:{postgres().port}", url.rpartition("/")[2]
    several = f"postgresql://steelyard@/{name}?host=127.0.0.1:1&host={here}&target_session_attrs=read-write"
    with closing(Database(several, timeout_seconds=TIMEOUT)) as database:
        write(database)
        assert count(database) == 1


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (psycopg.errors.DiskFull("no space left"), DatabaseFailed, "disk is full"),
        (psycopg.errors.OutOfMemory(), DatabaseFailed, "out of memory"),
        (psycopg.errors.CannotConnectNow(), DatabaseFailed, "being stopped or started"),
        (psycopg.errors.DeadlockDetected(), DatabaseTimeout, "order"),
        (psycopg.errors.SerializationFailure(), DatabaseTimeout, "order"),
        (psycopg.errors.IoError(), DatabaseFailed, "finds it in the log"),
        (psycopg.errors.DataCorrupted(), DatabaseFailed, "finds it in the log"),
        (psycopg.OperationalError("the database system is starting up"), DatabaseFailed, "being stopped or started"),
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL"), None, ""),
        (psycopg.errors.UniqueViolation(), None, ""),
        (psycopg.errors.NumericValueOutOfRange(), None, ""),
    ],
)
def test_what_cannot_be_brought_about_here_is_named_by_its_code(
    error: psycopg.Error, kind: type[RegistryError] | None, words: str
) -> None:
    named = dialect.name_failure(OperationalError("SELECT", {}, error))
    assert type(named) is (kind or type(None))
    assert words in (named.detail if named else "")


def test_a_violated_constraint_is_our_fault_and_tells_no_row(database: Database) -> None:
    def add(session: Session) -> None:
        session.add(User(username="ada", email_address="ada@example.com"))
        session.flush()

    with pytest.raises(IntegrityError) as caught, database.write() as session:
        add(session)
        add(session)
    assert "uq_users_username" in str(caught.value)
    assert "ada" not in str(caught.value)
    assert count(database) == 0


# --- what is chosen


@pytest.mark.parametrize(
    "url", ["mysql://root:hush@db/registry", "postgresql+psycopg2://u:hush@db/registry", "nonsense", "://", ""]
)
def test_what_the_registry_cannot_stand_on_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="STEELYARD_DATABASE is postgresql://") as caught:
        Database(url)
    assert "hush" not in str(caught.value)


def test_a_prepare_threshold_that_is_no_number_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="a number or `none`"):
        Database("postgresql://steelyard@db/registry?prepare_threshold=often")


def test_without_the_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.delitem(sys.modules, "steelyard.server.db.postgres")
    monkeypatch.delattr(sys.modules["steelyard.server.db"], "postgres")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ValueError, match=r"pip install 'steelyard\[server,postgres\]'"):
        Database(url)


@pytest.mark.parametrize(
    ("query", "threshold", "user_timeout"),
    [("", 5, "600"), ("?prepare_threshold=none", None, "600"), ("?prepare_threshold=1&tcp_user_timeout=9", 1, "9")],
)
def test_what_the_url_says_goes_first(url: str, query: str, threshold: int | None, user_timeout: str) -> None:
    asked = Database(url.replace("postgresql:", "postgresql+psycopg:") + query, timeout_seconds=TIMEOUT)
    with closing(asked), asked.read() as session:
        raw = session.connection().connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        assert raw.prepare_threshold == threshold
        assert raw.info.get_parameters()["tcp_user_timeout"] == user_timeout
        assert raw.info.get_parameters()["application_name"] == "steelyard"


def test_a_database_that_cannot_hold_every_text_is_refused(engine: Postgres) -> None:
    with engine.administering() as connection:
        connection.execute("CREATE DATABASE narrow ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    narrow = Database(engine.url("narrow"), timeout_seconds=TIMEOUT)
    with closing(narrow), failing(DatabaseFailed, "UTF8"):
        migrate(narrow)
