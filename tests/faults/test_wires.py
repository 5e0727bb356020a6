"""The wire itself: each fault does what it says, when it says, and is over when it is mended."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from struct import pack

import pytest

from tests.house.wires import Fault, Wire


class Echo(socketserver.BaseRequestHandler):
    """Says what it hears, in capitals."""

    def handle(self) -> None:
        with suppress(ConnectionError):
            while heard := self.request.recv(65536):
                self.server.heard.append(heard)  # type: ignore[attr-defined]
                self.request.sendall(heard.upper())
        self.server.left.set()  # type: ignore[attr-defined]


class Echoes(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.heard: list[bytes] = []
        self.left = threading.Event()


@pytest.fixture
def echoes() -> Iterator[Echoes]:
    with Echoes() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def wire(echoes: Echoes) -> Iterator[Wire]:
    made = Wire(echoes.server_address[1])
    yield made
    made.close()


def dial(wire: Wire) -> socket.socket:
    return socket.create_connection(("127.0.0.1", wire.port), timeout=0.3)


def say(caller: socket.socket, words: bytes) -> bytes:
    caller.sendall(words)
    return caller.recv(65536)


def test_bytes_pass_and_are_counted(wire: Wire) -> None:
    with dial(wire) as caller:
        assert say(caller, b"hello") == b"HELLO"
    assert (wire.up_bytes, wire.down_bytes, wire.connections) == (5, 5, 1)


def test_silence_lasts_until_it_is_mended_and_then_what_was_said_arrives(wire: Wire) -> None:
    with dial(wire) as caller, dial(wire) as other:
        with wire.broken(Fault("silent")):
            for each in (caller, other):
                with pytest.raises(TimeoutError):
                    say(each, b"hello")
        assert caller.recv(9) == other.recv(9) == b"HELLO"
    assert wire.struck == {"silent": 2}


def test_a_cut_resets_what_is_open_and_what_comes_after(wire: Wire) -> None:
    with dial(wire) as caller:
        say(caller, b"hello")
        with wire.broken(Fault("cut")), dial(wire) as other:
            for each in (caller, other):
                with pytest.raises(ConnectionError):
                    say(each, b"hello")
    with dial(wire) as caller:
        assert say(caller, b"hello") == b"HELLO"


def test_who_dies_is_missed_at_the_other_end(wire: Wire, echoes: Echoes) -> None:
    with dial(wire) as caller:
        say(caller, b"hello")
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
    assert echoes.left.wait(5)


def test_a_cut_waits_for_its_moment_and_for_its_number(wire: Wire, echoes: Echoes) -> None:
    with dial(wire) as caller, dial(wire) as other, wire.broken(Fault("cut", at=rb"^now", times=1)):
        assert say(caller, b"not now") == b"NOT NOW"
        with pytest.raises(ConnectionError):
            say(caller, b"now")
        assert say(other, b"now") == b"NOW"
    assert echoes.heard == [b"not now", b"now"]


def test_an_answer_is_lost_when_its_request_was_heard(wire: Wire, echoes: Echoes) -> None:
    with dial(wire) as caller, wire.broken(Fault("cut", at=b"now", way="down")), pytest.raises(ConnectionError):
        say(caller, b"now")
    assert echoes.heard == [b"now"]


def test_an_answer_is_cut_after_so_many_bytes(wire: Wire) -> None:
    with dial(wire) as caller, wire.broken(Fault("silent", at=b"now", way="down", after_bytes=3)):
        caller.sendall(b"now or never")
        time.sleep(0.05)
        assert caller.recv(9) == b"NOW"
        with pytest.raises(TimeoutError):
            caller.recv(9)


def test_nobody_listens_where_a_wire_refuses(wire: Wire) -> None:
    with dial(wire) as caller:
        say(caller, b"hello")
        with wire.broken(Fault("refuse")):
            with pytest.raises(ConnectionError):
                say(caller, b"hello")
            with pytest.raises(ConnectionRefusedError):
                dial(wire)
    with dial(wire) as caller:
        assert say(caller, b"hello") == b"HELLO"


def test_a_slow_wire_delays_each_piece(wire: Wire) -> None:
    with dial(wire) as caller, wire.broken(Fault("slow", delay_seconds=0.05)):
        began = time.monotonic()
        assert say(caller, b"hello") == b"HELLO"
        assert time.monotonic() - began >= 0.1


@pytest.mark.parametrize("status", ["500", "503"])
def test_a_store_that_fails_answers_in_its_own_words(wire: Wire, echoes: Echoes, status: str) -> None:
    fault = Fault(status, at=rb"^PUT /bucket/", times=1)  # type: ignore[arg-type]
    with wire.broken(fault):
        with dial(wire) as caller:
            answer = say(caller, b"PUT /bucket/key HTTP/1.1\r\n\r\nbytes")
            assert answer.startswith(b"HTTP/1.1 " + status.encode())
            assert b"<Code>" in answer
        with dial(wire) as caller:
            assert say(caller, b"put /bucket/key") == b"PUT /BUCKET/KEY"
            assert say(caller, b"PUT /bucket/key") == b"PUT /BUCKET/KEY"
    assert len(echoes.heard) == 2


def test_a_fault_that_never_strikes_fails_its_test(wire: Wire) -> None:
    with pytest.raises(AssertionError, match="did not strike"), wire.broken(Fault("cut", at=b"never")):
        pass
