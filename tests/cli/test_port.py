"""A port that somebody listens on already."""

from pathlib import Path

from tests.house import start_server


def test_a_second_server_on_the_same_port_does_not_start(tmp_path: Path) -> None:
    first = start_server(tmp_path / "first")
    try:
        second = start_server(tmp_path / "second", port=first.port)  # it seems ready: the first one answers
        assert second.process.wait(timeout=30) == 1
        assert "cannot start" in second.log
        assert "in use" in second.log
    finally:
        first.stop()


def test_a_port_can_be_taken_again_at_once(tmp_path: Path) -> None:
    first = start_server(tmp_path / "data")
    first.stop()
    start_server(tmp_path / "data", port=first.port).stop()
