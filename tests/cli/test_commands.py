"""Every command, for people and as JSON."""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from steelyard.cli import main
from tests.cli.conftest import Run
from tests.client.conftest import MakeFolder
from tests.house import RunningServer


def leaves(group: click.Group, *above: str) -> set[str]:
    """The names of all commands that do something, but those of the server."""
    found: set[str] = set()
    for name in group.list_commands(click.Context(group)):
        if name in ("serve", "admin"):
            continue
        command = group.get_command(click.Context(group), name)
        found |= leaves(command, *above, name) if isinstance(command, click.Group) else {" ".join([*above, name])}
    return found


SCENARIO: list[tuple[str, str]] = [
    # command line; keys its JSON has (`|` between alternatives of one line; `[]`: an array of such objects)
    ("user show", "id username email_address"),
    ("user create kim{n} --email kim@example.com", "id username key is_admin disabled"),
    ("user list", "users next_cursor"),
    ("user disable kim{n}", "username disabled"),
    ("user enable kim{n}", "username disabled"),
    ("user token kim{n}", "id key"),
    ("org create zoo{n} --name Zoo", "id key name created_at"),
    ("org show zoo{n}", "id key name created_at"),
    ("org list", "[] id key name"),
    ("member add zoo{n} kim{n} --role reader", "username role added_at"),
    ("member set-role zoo{n} kim{n} contributor", "username role"),
    ("member list zoo{n}", "members"),
    ("member remove zoo{n} kim{n}", "removed org"),
    ("service add zoo{n} robot --role contributor", "id name role"),
    ("service role zoo{n} robot reader", "name role"),
    ("service list zoo{n}", "service_accounts"),
    ("service token zoo{n} robot --label ci --access read --expires 2d", "id key expires_at"),
    ("service tokens zoo{n} robot", "api_keys"),
    ("service revoke zoo{n} robot {service_key}", "revoked"),
    ("service remove zoo{n} robot", "removed org"),
    ("token create ci --org zoo{n} --access read --expires 2099-01-01T00:00:00Z", "id key org access expires_at"),
    ("token list", "api_keys"),
    ("token revoke {own_key}", "revoked"),
    ("push {folder} zoo{n}/tiny:1.0.0 --metric a=0.5 --license mit", "created files size_bytes uploaded_bytes model"),
    ("push {folder} zoo{n}/tiny --bump minor --no-git", "created files size_bytes uploaded_bytes model"),
    ("show zoo{n}/tiny:^1", "id name version artifacts sizes metrics origin"),
    ("list zoo{n}", "models total"),
    ("list", "models total"),
    ("versions zoo{n}/tiny", "name versions latest"),
    ("compare zoo{n}/tiny 1.0.0 1.1.0", "name versions metric_keys"),
    ("alias set zoo{n}/tiny:1.0.0 prod --protected", "alias name version"),
    ("alias list zoo{n}/tiny", "aliases next_cursor"),
    ("alias remove zoo{n}/tiny prod", "removed name version"),
    ("metrics zoo{n}/tiny:1.0.0 loss=0.25 note=good --remove a", "name version metrics"),
    ("yank zoo{n}/tiny:1.1.0 --reason wrong", "name version yanked"),
    ("yank zoo{n}/tiny:1.1.0 --undo", "name version yanked"),
    ("visibility zoo{n}/tiny public", "is_public message"),
    ("pull zoo{n}/tiny {dest}", "name version destination files size_bytes downloaded_bytes written removed"),
    ("verify {dest}", "name version directory files matches missing changed extra"),
    ("audit zoo{n} --limit 10", "events next_cursor"),
    ("delete zoo{n}/tiny:1.0.0 --yes", "deleted"),
    ("delete zoo{n}/tiny --yes", "deleted"),
    ("login {url} --token-stdin", "url username file"),
    ("logout {url}", "url"),
]  # fmt: skip


class Story:
    """Runs the scenario, filling in what earlier answers said."""

    def __init__(self, run: Run, live: RunningServer, number: int, folder: Path, dest: Path) -> None:
        self.run, self.token = run, live.token
        self.words: dict[str, Any] = {"n": number, "folder": folder, "dest": dest, "url": live.url}

    def line(self, line: str) -> list[str]:
        return [word.format(**self.words) for word in line.split()]

    def json(self, line: str) -> Any:
        result = self.run(*self.line(line), "--json", stdin=self.token + "\n")
        assert result.stderr == ""
        answer = json.loads(result.stdout)
        if line.startswith("service token "):
            self.words["service_key"] = answer["id"]
        if line.startswith("token create"):
            self.words["own_key"] = answer["id"]
        return answer


def test_every_command_speaks_json_of_a_stable_shape(
    run: Run, logged_in: RunningServer, make_folder: MakeFolder, tmp_path: Path
) -> None:
    folder = make_folder({"model.safetensors": b"w" * 100, "README.md": b"# hi"})
    story = Story(run, logged_in, 1, folder, tmp_path / "dest")
    for line, keys in SCENARIO:
        answer = story.json(line)
        if keys.startswith("[] "):
            assert isinstance(answer, list)
            [answer, keys] = [answer[0], keys[3:]]
        assert set(keys.split()) <= set(answer), line
    tried = {line.split(" ", 1)[0] for line, _ in SCENARIO} | {" ".join(line.split()[:2]) for line, _ in SCENARIO}
    assert leaves(main) <= tried


def test_every_command_says_something_to_people(
    run: Run, logged_in: RunningServer, make_folder: MakeFolder, tmp_path: Path
) -> None:
    story = Story(run, logged_in, 2, make_folder({"model.safetensors": b"w" * 100}), tmp_path / "dest")
    for line, _ in SCENARIO:
        words = story.line(line)
        if line.startswith(("service token ", "token create")):
            story.json(line)
            continue
        result = run(*words, stdin=logged_in.token + "\n")
        assert result.stdout.strip(), line
        assert not result.stdout.startswith("{"), line


def test_show_tells_what_there_is_to_know(
    run: Run, logged_in: RunningServer, model: str, make_folder: MakeFolder
) -> None:
    folder = make_folder(
        {"model.yaml": b"license: mit\nsummary: A tiny one\ntask: fill-mask\n", "w.gguf": b"x" * 1234567}
    )
    run("push", folder, f"{model}:1.0.0", "--tag", "a", "--tag", "b", "--alias", "prod", "--origin", "run_id=7",
        "--derived-from", "acme/base:1.0.0", "finetune")  # fmt: skip
    shown = run("show", f"{model}@prod").stdout
    for text in (
        f"{model}\n",
        "1.0.0",
        "prod",
        "mit",
        "A tiny one",
        "fill-mask",
        "a, b",
        "gguf",
        "w.gguf",
        "1.2 MB",
        "sha256:",
    ):
        assert text in shown
    origin = json.loads(run("show", model, "--json").stdout)["origin"]
    assert origin["run_id"] == "7"
    assert origin["derived_from"] == [{"name": "acme/base", "version": "1.0.0", "relation": "finetune"}]


def test_alias_history_says_who_moved_what(
    run: Run, logged_in: RunningServer, model: str, make_folder: MakeFolder
) -> None:
    folder = make_folder({"a": b"1"})
    run("push", folder, f"{model}:1.0.0")
    run("push", folder, f"{model}:2.0.0")
    run("alias", "set", f"{model}:1.0.0", "prod")
    run("alias", "set", f"{model}:latest", "prod")
    rows = [line.split() for line in run("alias", "list", model, "--history").stdout.splitlines()]
    assert rows[1][:3] == ["prod", "2.0.0", "no"]
    assert ["prod", "1.0.0", "2.0.0", "admin"] in [row[1:] for row in rows]


def test_verify_ends_with_one_and_names_each_difference(
    run: Run, logged_in: RunningServer, model: str, make_folder: MakeFolder, tmp_path: Path
) -> None:
    run("push", make_folder({"a": b"1", "b": b"2"}), f"{model}:1.0.0")
    run("pull", model, tmp_path / "dest")
    (tmp_path / "dest" / "a").write_bytes(b"other")
    (tmp_path / "dest" / "b").unlink()
    (tmp_path / "dest" / "c").write_bytes(b"new")
    result = run("verify", tmp_path / "dest", code=1)
    assert result.stdout.splitlines() == ["missing  b", "changed  a", "extra  c"]
    assert f"steelyard pull {model}:1.0.0" in result.stderr
    answer = json.loads(run("verify", tmp_path / "dest", "--json", code=1).stdout)
    assert (answer["matches"], answer["missing"], answer["changed"], answer["extra"]) == (False, ["b"], ["a"], ["c"])


def test_a_pull_of_a_yanked_version_warns(
    run: Run, logged_in: RunningServer, model: str, make_folder: MakeFolder, tmp_path: Path
) -> None:
    run("push", make_folder({"a": b"1"}), f"{model}:1.0.0")
    run("yank", f"{model}:1.0.0", "--reason", "wrong tokenizer")
    assert "wrong tokenizer" in run("pull", f"{model}:1.0.0", tmp_path / "dest").stderr


def test_pull_hard_links_when_asked(
    run: Run, logged_in: RunningServer, model: str, make_folder: MakeFolder, tmp_path: Path
) -> None:
    run("push", make_folder({"a": b"1" * 1000}), f"{model}:1.0.0")
    run("pull", model, tmp_path / "dest", "--hardlink")
    assert (tmp_path / "dest" / "a").stat().st_nlink == 2
    assert (tmp_path / "dest" / "a").stat().st_mode & 0o777 == 0o444


def test_unknown_keys_of_model_yaml_are_talked_about(
    run: Run, logged_in: RunningServer, model: str, make_folder: MakeFolder
) -> None:
    folder = make_folder({"model.yaml": b"licence: mit\n", "w.bin": b"w"})
    assert "licence" in run("push", folder, f"{model}:1.0.0").stderr


@pytest.mark.parametrize(
    ("text", "stored"), [("3", 3), ("-2", -2), ("0.5", 0.5), ("1e-3", 0.001), ("nan", "nan"), ("v1", "v1"), ("", "")]
)
def test_a_metric_that_reads_as_a_number_is_one(text: str, stored: object) -> None:
    from steelyard.cli.changes import parse_metrics

    value = parse_metrics((f"m={text}",))["m"]
    assert (value, type(value)) == (stored, type(stored))
