"""The Hub's client where the store signs links: told by the registry what a file is, given its bytes by the store."""

import random
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from huggingface_hub import HfApi, close_session, constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

from tests.house import Person
from tests.straight.conftest import Yard

DATA = random.Random(7).randbytes(3_000_000)
FILES = {"weights/über model.bin": DATA, "empty": b"", "README.md": b"# tiny\n"}


@pytest.fixture(autouse=True)
def _plainly() -> Iterator[None]:
    """Files come as they are, and nothing is drawn meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        disable_progress_bars()
        yield
        enable_progress_bars()
        close_session()


@pytest.fixture
def repo(ada: Person) -> str:
    """A private model."""
    published = ada.publish(f"{ada.name}/tiny:1.0.0", FILES)
    assert published.status_code == 201, published.text
    return f"{ada.name}/tiny"


def test_a_private_model_is_fetched_from_the_store(yard: Yard, ada: Person, repo: str, tmp_path: Path) -> None:
    api = HfApi(endpoint=yard.server.url, token=ada.token)
    before = yard.moved_bytes
    folder = Path(api.snapshot_download(repo, cache_dir=tmp_path))
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == FILES
    assert yard.moved_bytes - before < 1_000_000


def test_head_tells_of_a_file_and_sends_nobody_away(yard: Yard, ada: Person, repo: str) -> None:
    url = hf_hub_url(repo, "weights/über model.bin", endpoint=yard.server.url)
    metadata = get_hf_file_metadata(url, token=ada.token)
    assert (metadata.size, metadata.location) == (len(DATA), url)
    assert ada.request("HEAD", url).status_code == 200


@pytest.mark.parametrize("asked", ["bytes=0-0", f"bytes={len(DATA) - 10}-{len(DATA)}", "bytes=1000000-1000009", None])
def test_get_leads_to_the_store_by_an_absolute_link(yard: Yard, ada: Person, repo: str, asked: str | None) -> None:
    url = hf_hub_url(repo, "weights/über model.bin", endpoint=yard.server.url)
    headers = {"Range": asked} if asked else {}
    sent = ada.get(url, headers=headers)
    assert (sent.status_code, sent.headers["cache-control"]) == (302, "no-store")
    assert urlsplit(sent.headers["location"]).netloc != urlsplit(yard.server.url).netloc
    assert sent.headers["x-repo-commit"]
    assert sent.headers["x-linked-size"] == str(len(DATA))
    assert sent.headers["x-linked-etag"] == ada.request("HEAD", url).headers["etag"]
    plain = ada.client.get(sent.headers["location"], headers=headers)
    whole = {"bytes=0-0": DATA[:1], "bytes=1000000-1000009": DATA[1_000_000:1_000_010], None: DATA}
    assert plain.content == whole.get(asked, DATA[-10:])


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the client's own call to its HTTP library
def test_a_large_file_is_pushed_straight_to_the_store(yard: Yard, ada: Person, tmp_path: Path) -> None:
    api = HfApi(endpoint=yard.server.url, token=ada.token)
    repo, data = api.create_repo(f"{ada.name}/pushed").repo_id, DATA * 4
    before = yard.moved_bytes
    api.upload_file(path_or_fileobj=data, path_in_repo="model.bin", repo_id=repo)
    assert yard.moved_bytes - before < 1_000_000
    assert Path(api.hf_hub_download(repo, "model.bin", cache_dir=tmp_path)).read_bytes() == data
