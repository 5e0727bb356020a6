"""Parts that arrive at once, the same one too, are noted beside each other on every database."""

import threading

from steelyard.server.core.arrivals import uploads
from tests.conftest import MakeRegistered
from tests.server.doors.native.models import ModelAt

PART = 64 * 1024


def test_parts_are_noted_beside_each_other(make_registered: MakeRegistered) -> None:
    registered = make_registered(part_size_bytes=PART)
    tiny, database = ModelAt(registered.user("ada"), "ada/tiny"), registered.client.app.state.registry.database  # type: ignore[attr-defined]
    href = tiny.person.offer(tiny.ref, bytes(8 * PART)).json()["objects"][0]["actions"]["upload"]["href"]
    upload_id = href.partition("?")[0].rpartition("/")[2]
    failures: list[Exception] = []

    def note(number: int) -> None:
        try:
            with database.write(beside=True) as session:
                uploads.record_part(session, upload_id, number)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=note, args=(number,)) for number in [1, 2, 3, 4, 5, 6, 7, 8] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with database.read() as session:
        assert uploads.parts_done(session, upload_id) == (1, 2, 3, 4, 5, 6, 7, 8)
