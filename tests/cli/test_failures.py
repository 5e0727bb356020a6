"""How the command fails: the exit code, the words, and the next step."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from steelyard.cli.console import human_size, plain
from tests.cli.conftest import Run
from tests.client.conftest import MakeFolder
from tests.client.fakes import FakeRegistry, Reply, error_reply, json_reply
from tests.house import RunningServer
from tests.house.wires import Wire


@pytest.fixture
def at_fake(fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    monkeypatch.setenv("STEELYARD_URL", fake.url)
    monkeypatch.setenv("STEELYARD_TOKEN", "the-token")
    return fake


@pytest.mark.parametrize(
    ("status", "type_", "code", "step"),
    [
        (400, "invalid_request_error", 2, None),
        (401, "authentication_error", 4, "steelyard login http://127.0.0.1"),
        (403, "forbidden_error", 4, "steelyard member list acme"),
        (404, "not_found_error", 3, "steelyard versions acme/tiny"),
        (409, "conflict_error", 5, None),
        (409, "already_exists_error", 5, None),
        (413, "invalid_request_error", 2, None),
        (422, "validation_error", 2, None),
        (426, "upgrade_required_error", 8, "pip install --upgrade steelyard"),
        (429, "rate_limit_error", 6, None),
        (500, "internal_error", 6, None),
    ],
)
def test_each_refusal_has_an_exit_code_and_a_next_step(
    run: Run, at_fake: FakeRegistry, status: int, type_: str, code: int, step: str | None
) -> None:
    reply = error_reply(status, type_, "what went wrong", **{"X-Request-Id": "req-7", "Retry-After": "999"})
    at_fake.on("GET", "/api/v1/org/acme/models/tiny", reply)
    result = run("show", "acme/tiny", code=code)
    assert result.stdout == ""
    assert result.stderr.startswith("error: what went wrong [request req-7]\n")
    assert (step is None) == ("next:" not in result.stderr)
    assert step is None or step in result.stderr
    described = json.loads(run("show", "acme/tiny", "--json", code=code).stderr)
    assert (described["code"], described["type"], described["detail"]) == (status, type_, "what went wrong")
    assert (described["request_id"], described["exit_code"], described["errors"]) == ("req-7", code, [])


def test_every_fault_of_a_422_is_told(run: Run, at_fake: FakeRegistry) -> None:
    faults = [
        {"loc": ["body", "tags", 0], "msg": "too long", "type": "t"},
        {"loc": ["body", "x"], "msg": "unknown", "type": "t"},
    ]
    body = {"code": 422, "type": "validation_error", "detail": "2 faults", "errors": faults}
    at_fake.on("GET", "/api/v1/org/acme/models/tiny", json_reply(body, 422))
    told = run("show", "acme/tiny", code=2).stderr
    assert "  body.tags.0: too long\n" in told and "  body.x: unknown\n" in told


def test_nobody_there_is_exit_code_six(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEELYARD_URL", "http://127.0.0.1:9")
    assert "curl http://127.0.0.1:9/health" in run("show", "acme/tiny", code=6).stderr


def test_something_that_is_no_registry_is_exit_code_seven(run: Run, at_fake: FakeRegistry) -> None:
    at_fake.on("GET", "/api/v1/org/acme/models/tiny", Reply(200, b"<html>"))
    assert "JSON" in run("show", "acme/tiny", code=7).stderr


def test_without_an_address_the_next_step_is_login(run: Run) -> None:
    assert "steelyard login" in run("list", code=2).stderr


@pytest.mark.parametrize(
    "line",
    [
        "show tiny", "show acme/tiny:", "push {folder} acme/tiny", "push {folder} acme/tiny:latest",
        "push {missing} acme/tiny:1.0.0",
        "yank acme/tiny:1.0.0", "yank acme/tiny:1.0.0 --reason x --undo", "yank acme/tiny:^1 --reason x",
        "delete acme/tiny:^1 --yes", "delete acme/tiny", "alias set acme/tiny prod", "metrics acme/tiny x=1",
        "metrics acme/tiny:1.0.0 x", "visibility acme/tiny open", "token create x --expires soon", "nonsense",
        "push --nonsense",
        "show acme/tiny --url ftp://x", "verify {folder}", "push {folder} acme/tiny:v1.0.0",
    ],
)  # fmt: skip
def test_wrong_use_is_exit_code_two_and_sends_nothing(
    run: Run, at_fake: FakeRegistry, make_folder: MakeFolder, tmp_path: Path, line: str
) -> None:
    words = {"folder": make_folder({"a": b"1"}), "missing": tmp_path / "missing"}
    arguments = [word.format(**words) for word in line.split()]
    result = run(*arguments, code=2)
    assert result.stdout == "" and result.stderr
    assert at_fake.seen == []
    described = json.loads(run(*arguments, "--json", code=2).stderr)
    assert described["exit_code"] == 2 and described["detail"]


def test_a_pull_that_would_overwrite_is_a_conflict(
    run: Run, logged_in: RunningServer, model: str, make_folder: MakeFolder, tmp_path: Path
) -> None:
    run("push", make_folder({"a": b"1"}), f"{model}:1.0.0")
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "a").write_bytes(b"mine")
    assert "--force" in run("pull", model, tmp_path / "dest", code=5).stderr
    run("pull", model, tmp_path / "dest", "--force")


def test_another_version_under_the_same_number_is_a_conflict(
    run: Run, logged_in: RunningServer, model: str, make_folder: MakeFolder
) -> None:
    run("push", make_folder({"a": b"1"}), f"{model}:1.0.0")
    assert "another number" in run("push", make_folder({"a": b"2"}), f"{model}:1.0.0", code=5).stderr
    assert run("push", make_folder({"a": b"1"}), f"{model}:1.0.0").stdout.startswith("Already published")


def test_a_folder_that_cannot_be_pushed_is_told_how_to_mend_it(
    run: Run, logged_in: RunningServer, model: str, make_folder: MakeFolder
) -> None:
    folder = make_folder({"a": b"1"})
    (folder / "out").symlink_to("/etc/passwd")
    told = run("push", folder, f"{model}:1.0.0", code=2).stderr
    assert "'out'" in told and ".steelyardignore" in told
    (folder / ".steelyardignore").write_text("out\n")


def test_deleting_asks_for_the_name_and_a_program_must_say_yes(
    run: Run, logged_in: RunningServer, model: str, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("push", make_folder({"a": b"1"}), f"{model}:1.0.0")
    assert "--yes" in run("delete", model, code=2).stderr
    monkeypatch.setattr("steelyard.cli.changes._somebody_to_ask", lambda: True)
    assert "nothing was deleted" in run("delete", model, stdin="yes\n", code=2).stderr
    run("versions", model)
    run("delete", model, stdin=f"{model}\n")
    run("versions", model, code=3)


def test_what_a_registry_says_does_not_steer_the_terminal(run: Run, at_fake: FakeRegistry) -> None:
    evil = "\x1b]0;owned\x07 \x1b[2J\u202egnp.exe\r\x9b31m"
    detail = {"id": "1", "name": "acme/tiny", "version": "1.0.0", "created_at": "t", "summary": evil, "tags": [evil],
              "artifacts": {evil: "sha256:" + "0" * 64}, "sizes": {evil: 1}, "metrics": {evil: evil}}  # fmt: skip
    at_fake.on("GET", "/api/v1/org/acme/models/tiny", json_reply(detail))
    for arguments in (["show", "acme/tiny"], ["show", "acme/tiny", "--json"], ["metrics", "acme/tiny"]):
        shown = run(*arguments).stdout
        assert not set("\x1b\x07\r\x9b\u202e") & set(shown)
    at_fake.on("GET", "/api/v1/org/acme/models/tiny", error_reply(404, "not_found_error", evil))
    assert not set("\x1b\x07\r\x9b\u202e") & set(run("show", "acme/tiny", code=3).stderr)


def test_plain_keeps_what_is_harmless() -> None:
    assert plain("naïve 模型 ok") == "naïve 模型 ok"
    assert plain("a\nb") == "a\N{REPLACEMENT CHARACTER}b"
    assert plain("a\nb\x00", lines=True) == "a\nb\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_500, "1.0 MB"),
        (10**15, "1000 TB"),
    ],
)
def test_sizes_are_short(size: int, text: str) -> None:
    assert human_size(size) == text


# --- as a process


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "steelyard", *arguments]


def test_ctrl_c_ends_with_130_and_without_a_traceback(at_fake: FakeRegistry) -> None:
    def slow(_: object) -> Reply:
        time.sleep(5)
        return Reply()

    at_fake.on("GET", "/api/v1/org/acme/models/tiny", slow)
    process = subprocess.Popen(command("show", "acme/tiny"), stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    while not at_fake.seen:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=5)
    assert process.returncode == 130
    assert b"Interrupted" in err and b"Traceback" not in err


def test_a_reader_that_goes_away_ends_the_command_quietly(at_fake: FakeRegistry) -> None:
    models = [{"id": str(n), "name": f"acme/m{n}", "version": "1.0.0", "created_at": "t"} for n in range(20_000)]
    page = {"models": models, "page": 1, "limit": 200, "total": len(models), "has_next": False}
    at_fake.on("GET", "/api/v1/org/acme/models", json_reply(page))
    process = subprocess.Popen(command("list", "acme"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(10) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_bars_show_on_a_terminal_and_not_in_a_pipe(
    logged_in: RunningServer, model: str, make_folder: MakeFolder, tmp_path: Path
) -> None:
    folder = make_folder({"w.bin": os.urandom(10_000_000)})
    wire = Wire(logged_in.port)
    wire.hold_up_after = 4_000_000
    near, far = pty.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    arguments = command("push", str(folder), f"{model}:1.0.0", "--url", wire.url, "--token", logged_in.token)
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=far)
    os.close(far)
    wire.wait_until_held()
    time.sleep(0.4)
    wire.release()
    seen = b""
    try:
        while data := os.read(near, 4096):
            seen += data
    except OSError:  # the other end closed
        pass
    os.close(near)
    wire.close()
    assert process.communicate(timeout=20)[0].startswith(b"Published") and process.returncode == 0
    assert b"Uploading" in seen
    done = subprocess.run(command("pull", model, str(tmp_path / "dest")), capture_output=True, check=True)
    assert done.stderr == b""
