"""What a client is made to do. A program that every environment of the matrix runs, so it knows all generations of
huggingface_hub and nothing of ours: a job as JSON on standard input, JSON lines on standard output.

`story` does one thing after the other and says of each how it went; `push` and `pull` make and read what the clients
exchange with each other.
"""

import hashlib
import inspect
import io
import json
import random
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

MB = 10**6
LARGE, STREAMED = "weights/model.safetensors", "weights/streamed.bin"
EXCHANGED = "sub folder/weights.bin"
CARD = b"---\nlicense: apache-2.0\ntags:\n- matrix\n---\n# A model\n\nSmall, and all there.\n"


def bytes_of(seed: str, size_bytes: int) -> bytes:
    """The same bytes for the same seed, everywhere."""
    return random.Random(seed).randbytes(size_bytes)


def digest(data: bytes) -> str:
    """sha256, in hex."""
    return hashlib.sha256(data).hexdigest()


def written(folder: Path, files: dict[str, bytes]) -> Path:
    """A folder with these files."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def read(folder: Path) -> dict[str, str]:
    """Path -> sha256 of what a snapshot has; what begins with a dot is the client's, or the Hub's."""
    files = ((path.relative_to(folder), path) for path in folder.rglob("*") if path.is_file())
    return {
        inside.as_posix(): digest(path.read_bytes())
        for inside, path in files
        if not any(part.startswith(".") for part in inside.parts)
    }


# --- what one client does


@dataclass
class Work:
    """A model to work on, a folder that is empty at first, and what the model has to have by now."""

    repo: str
    folder: Path

    @cached_property
    def files(self) -> dict[str, bytes]:
        """All that the story pushes."""
        seed = self.repo
        return {
            "README.md": CARD,
            "config.json": b'{"hidden_size": 384}',
            LARGE: bytes_of(seed, 12 * MB),
            STREAMED: bytes_of(seed + "streamed", 1 * MB + MB // 2),
            "folder/über a model.txt": "größer\n".encode(),
            "folder/deep/er/tokens.bin": bytes_of(seed + "tokens", 2 * MB),
            "folder/none.txt": b"",
        }

    @property
    def digests(self) -> dict[str, str]:
        return {path: digest(data) for path, data in self.files.items()}

    @cached_property
    def hub(self) -> Any:
        import huggingface_hub

        return huggingface_hub

    @cached_property
    def api(self) -> Any:
        return self.hub.HfApi()

    def cache(self) -> Path:
        """An empty one."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def snapshot(self, revision: str) -> dict[str, str]:
        return read(Path(self.hub.snapshot_download(self.repo, revision=revision, cache_dir=str(self.cache()))))

    def fetch(self, path: str, **kwargs: Any) -> bytes:
        return Path(self.hub.hf_hub_download(self.repo, path, cache_dir=str(self.cache()), **kwargs)).read_bytes()

    def names(self, revision: str = "main") -> set[str]:
        return set(self.api.list_repo_files(self.repo, revision=revision)) - {".gitattributes"}

    def command(self, *arguments: str) -> None:
        """Run the client's own command, which went by two names."""
        programs = (Path(sys.executable).with_name(name) for name in ("hf", "huggingface-cli"))
        program = next(path for path in programs if path.exists())
        done = subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def create(work: Work) -> None:
    made = work.api.create_repo(work.repo, private=True)
    assert made.repo_id == work.repo, made
    assert work.api.create_repo(work.repo, private=True, exist_ok=True).repo_id == work.repo
    assert work.api.whoami()["name"] in work.repo


def upload_small(work: Work) -> None:
    for path in ("README.md", "config.json"):
        work.api.upload_file(path_or_fileobj=work.files[path], path_in_repo=path, repo_id=work.repo)
    assert work.names() == {"README.md", "config.json"}
    head = work.api.model_info(work.repo).sha
    work.api.upload_file(path_or_fileobj=CARD, path_in_repo="README.md", repo_id=work.repo)
    assert work.api.model_info(work.repo).sha == head, "the same files again are no new commit"


def upload_large(work: Work) -> None:
    source = written(work.folder / "large", {"model": work.files[LARGE]}) / "model"
    work.api.upload_file(path_or_fileobj=str(source), path_in_repo=LARGE, repo_id=work.repo, commit_message="Weights")
    streamed = io.BytesIO(work.files[STREAMED])  # which no generation sends by Xet
    work.api.upload_file(path_or_fileobj=streamed, path_in_repo=STREAMED, repo_id=work.repo)
    assert {LARGE, STREAMED} < work.names()


def upload_folder(work: Work) -> None:
    inside = {path.removeprefix("folder/"): data for path, data in work.files.items() if path.startswith("folder/")}
    source = written(work.folder / "folder", {**inside, "left out.tmp": b"no"})
    work.api.upload_folder(folder_path=str(source), path_in_repo="folder", repo_id=work.repo, ignore_patterns=["*.tmp"])
    assert work.names() == set(work.files), work.names()


def tag(work: Work) -> None:
    work.api.create_tag(work.repo, tag="1.0.0", tag_message="The first")
    work.api.create_tag(work.repo, tag="1.0.0", exist_ok=True)
    work.api.create_tag(work.repo, tag="candidate")
    work.api.create_branch(work.repo, branch="try")
    work.api.delete_tag(work.repo, tag="candidate")
    work.api.delete_branch(work.repo, branch="try")


def list_files(work: Work) -> None:
    tree = list(work.api.list_repo_tree(work.repo, revision="1.0.0", recursive=True))
    sizes = {entry.path: entry.size for entry in tree if hasattr(entry, "size")}
    assert {path: sizes[path] for path in work.files} == {path: len(data) for path, data in work.files.items()}
    author = work.repo.partition("/")[0]
    assert work.repo in {model.id for model in work.api.list_models(author=author)}
    found = work.hub.HfFileSystem().ls(f"{work.repo}@1.0.0/folder", detail=False)
    assert f"{work.repo}@1.0.0/folder/none.txt" in found, found


def refs(work: Work) -> None:
    found = work.api.list_repo_refs(work.repo)
    assert {each.name for each in found.branches} == {"main"}, found
    assert {each.name for each in found.tags} == {"1.0.0"}, found
    head = found.branches[0].target_commit
    assert head == found.tags[0].target_commit
    commits = list(work.api.list_repo_commits(work.repo))
    assert commits[0].commit_id == head
    assert "Weights" in {commit.title for commit in commits}


def info(work: Work) -> None:
    found = work.api.model_info(work.repo, revision="1.0.0", files_metadata=True)
    assert found.sha == work.api.list_repo_refs(work.repo).tags[0].target_commit
    assert found.private is True
    assert "matrix" in found.tags, found.tags
    large = next(file for file in found.siblings if file.rfilename == LARGE)
    lfs = large.lfs if isinstance(large.lfs, dict) else vars(large.lfs)
    assert (large.size, lfs["sha256"]) == (12 * MB, digest(work.files[LARGE]))


def snapshot(work: Work) -> None:
    assert work.snapshot("1.0.0") == work.digests
    assert work.fetch(LARGE) == work.files[LARGE]


def delete(work: Work) -> None:
    work.api.delete_file("config.json", work.repo)
    work.api.delete_folder("folder", work.repo)
    assert work.names() == {"README.md", LARGE, STREAMED}
    assert work.names("1.0.0") == set(work.files)


def visibility(work: Work) -> None:
    for private in (False, True):
        change = getattr(work.api, "update_repo_settings", None)
        if change is None or "private" not in inspect.signature(change).parameters:
            change = work.api.update_repo_visibility
        change(work.repo, private=private)
        assert work.api.model_info(work.repo).private is private
        if private:
            refused(work, "RepositoryNotFoundError", lambda: work.api.model_info(work.repo, token=False))
        else:
            assert work.api.model_info(work.repo, token=False).id == work.repo
            assert work.fetch(LARGE, revision="1.0.0", token=False) == work.files[LARGE]


def wrong_token(work: Work) -> None:
    wrong = "hf_" + "x" * 34
    refused(work, "RepositoryNotFoundError", lambda: work.api.model_info(work.repo, token=wrong))
    refused(work, "RepositoryNotFoundError", lambda: work.fetch("README.md", revision="1.0.0", token=wrong))
    try:
        work.api.whoami(token=wrong)
    except Exception as error:
        assert "401" in repr(error) + repr(error.__cause__), error
    else:
        raise AssertionError("nobody is someone")


def missing(work: Work) -> None:
    refused(work, "EntryNotFoundError", lambda: work.fetch("nowhere.bin"))
    refused(work, "RevisionNotFoundError", lambda: work.fetch("README.md", revision="nowhere"))
    refused(work, "RepositoryNotFoundError", lambda: work.api.model_info(work.repo + "-nowhere"))
    assert not work.api.file_exists(work.repo, "nowhere.bin")


def refused(work: Work, kind: str, act: Callable[[], object]) -> None:
    """It raises this error of the client's, which is about what we said rather than about the connection."""
    expected = getattr(work.hub.utils, kind)
    try:
        act()
    except Exception as error:
        causes = (error, error.__cause__, error.__context__)
        assert any(isinstance(cause, expected) for cause in causes), f"{kind} expected, {error!r} raised"
    else:
        raise AssertionError(f"{kind} expected, nothing raised")


def command(work: Work) -> None:
    repo = work.repo + "-by-command"
    source = written(work.folder / "command", work.files)
    work.command("upload", repo, str(source), ".", "--private")
    work.api.create_tag(repo, tag="v0.1.0")
    place = work.folder / "downloaded"
    work.command("download", repo, "--revision", "v0.1.0", "--local-dir", str(place))
    assert read(place) == work.digests


ACTIONS: dict[str, Callable[[Work], None]] = {
    "create": create,
    "upload_file, small": upload_small,
    "upload_file, 12 MB": upload_large,
    "upload_folder": upload_folder,
    "tag": tag,
    "list": list_files,
    "refs": refs,
    "info": info,
    "snapshot of a tag": snapshot,
    "delete": delete,
    "private, public": visibility,
    "wrong token": wrong_token,
    "missing file": missing,
    "the command": command,
}


def story(job: dict[str, Any]) -> None:
    """Do everything, whatever fails on the way."""
    with tempfile.TemporaryDirectory(dir=job["folder"]) as folder:
        work = Work(job["repo"], Path(folder))
        for name, act in ACTIONS.items():
            say(action=name, why=attempt(act, work))


def attempt(act: Callable[[Work], None], work: Work) -> str | None:
    """Why it failed; None when it did not."""
    try:
        act(work)
    except BaseException:  # a panic of Rust's is no Exception
        return traceback.format_exc(limit=-6)
    return None


# --- what clients exchange


def exchanged(author: str, version: int, editor: str) -> dict[str, bytes]:
    """What an author's model has. Its second version is an editor's: the large file differs in two places and is
    longer, so that it is made of ranges of the first and of new ones between them."""
    first = bytes_of(author, 6 * MB)
    second = first[: 2 * MB] + bytes_of(editor, 50_000) + first[2 * MB : 4 * MB] + b"!" + first[4 * MB :]
    large = first if version == 1 else second
    return {"README.md": CARD, EXCHANGED: large, "config.json": b'{"version": %d}' % version}


def push(job: dict[str, Any]) -> None:
    """Push a version of a model, under a tag."""
    import huggingface_hub

    api: Any = huggingface_hub.HfApi()
    files = exchanged(job["author"], job["version"], job["editor"])
    with tempfile.TemporaryDirectory(dir=job["folder"]) as folder:
        api.create_repo(job["repo"], private=True, exist_ok=True)
        api.upload_folder(folder_path=str(written(Path(folder), files)), repo_id=job["repo"])
        api.create_tag(job["repo"], tag=f"{job['version']}.0.0")
    say(pushed=job["repo"])


def pull(job: dict[str, Any]) -> None:
    """Read what the others pushed."""
    import huggingface_hub

    fetch: Any = huggingface_hub.snapshot_download
    for repo, revision in job["wanted"]:
        with tempfile.TemporaryDirectory(dir=job["folder"]) as folder:
            try:
                files, why = read(Path(fetch(repo, revision=revision, cache_dir=folder))), None
            except BaseException:
                files, why = None, traceback.format_exc(limit=-6)
        say(repo=repo, revision=revision, files=files, why=why)


# --- the program


def say(**line: Any) -> None:
    """One line of what came of it."""
    print("SAID " + json.dumps(line), flush=True)


def installed() -> dict[str, str | None]:
    """The versions that are really here."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {"huggingface-hub": None, "hf-xet": None}
    for name in found:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def main() -> None:
    """Read the job and do it."""
    job = json.load(sys.stdin)
    say(installed=installed())
    {"story": story, "push": push, "pull": pull}[sys.argv[1]](job)


if __name__ == "__main__":
    main()
