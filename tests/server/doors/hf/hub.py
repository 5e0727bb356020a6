"""The real client of the Hub, as one person on one machine uses it."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi


@dataclass(frozen=True)
class HubUser:
    """Somebody with a token, or none, and an empty cache in `home`."""

    endpoint: str
    token: str | None
    home: Path

    @property
    def api(self) -> HfApi:
        """The client; False keeps it from looking for a token of the machine's."""
        return HfApi(endpoint=self.endpoint, token=self.token or False)

    def request(self, method: str, path: str, **kwargs: Any) -> httpx2.Response:
        """A bare request, as the same person. Redirects are not followed."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= kwargs.pop("headers", {})
        return httpx2.request(method, self.endpoint + path, headers=headers, timeout=30, **kwargs)

    def get(self, path: str, **headers: str) -> httpx2.Response:
        """The same, by GET."""
        return self.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def fetch(self, repo: str, path: str, revision: str | None = None, **kwargs: Any) -> Path:
        """Download one file into the cache."""
        return Path(self.api.hf_hub_download(repo, path, revision=revision, cache_dir=self.home, **kwargs))

    def snapshot(self, repo: str, revision: str | None = None, **kwargs: Any) -> dict[str, bytes]:
        """Download a revision; answers its files by path."""
        folder = Path(self.api.snapshot_download(repo, revision=revision, cache_dir=self.home, **kwargs))
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def counted(hub: HubUser, repo: str, *, wait_for: int = 0) -> int:
    """How often a model was taken, once that is written down; `wait_for` is what it should become."""
    deadline = time.monotonic() + (10 if wait_for else 1.5)
    while time.monotonic() < deadline:
        found = hub.api.model_info(repo).downloads or 0
        if wait_for and found >= wait_for:
            break
        time.sleep(0.1)
    return found
