"""The client: one registry, one caller, all operations of the native API, and whole versions there and back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from steelyard.client._http import Http
from steelyard.client.accounts import AccountCalls
from steelyard.client.addresses import is_loopback
from steelyard.client.models import ModelCalls
from steelyard.client.progress import Progress
from steelyard.client.pull import Pull, run_pull
from steelyard.client.push import Push, run_push
from steelyard.client.references import Reference
from steelyard.client.settings import cache_path, find_connection
from steelyard.client.types import PullResult, PushResult, VerifyResult
from steelyard.client.verify import run_verify


class Client(ModelCalls, AccountCalls):
    """A registry, called as one user. Safe to share between threads; use it in a `with`, or `close` it.

    `url` and `token` come from the arguments, then STEELYARD_URL and STEELYARD_TOKEN, then the login file.
    `timeout_seconds` is the longest silence of the registry, not the length of a transfer. `cache_dir` holds pulled
    bytes and remembered hashes (else STEELYARD_CACHE, else the user's cache folder). `threads` is how many connections
    a transfer uses at once. Raises InvalidSettings.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout_seconds: float = 60.0,
        cache_dir: str | Path | None = None,
        threads: int = 4,
    ) -> None:
        self.connection = find_connection(url, token)
        self._threads = max(1, threads)
        self._cache = Path(cache_dir) if cache_dir is not None else cache_path()
        self._http = Http(
            self.connection.url,
            self.connection.token,
            timeout_seconds=timeout_seconds,
            connections=self._threads + 2,
        )

    @property
    def url(self) -> str:
        """The registry's address, without a slash at the end."""
        return self.connection.url

    @property
    def sends_token_in_the_clear(self) -> bool:
        """Whether a token goes over plain http to another machine."""
        bare = self.url.startswith("http:") and not is_loopback(self.url)
        return bare and self.connection.token is not None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def push(
        self,
        folder: str | Path,
        reference: str | Reference,
        *,
        bump: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        origin: Mapping[str, Any] | None = None,
        use_git: bool = True,
        aliases: Sequence[str] = (),
        is_public: bool | None = None,
        progress: Progress | None = None,
    ) -> PushResult:
        """Publish a folder as `ORG/NAME:VERSION`, or as `ORG/NAME` with the next version (`bump`: major, minor, patch).

        Metadata comes from `model.yaml` or the front matter of `README.md`; keys of `metadata` win, metrics key by key;
        `origin` is added to what is known (tool, git commit). `is_public` counts only when this creates the model.
        Files the organisation holds are not sent. Interrupted, it goes on where it stopped when called again; a version
        that is there with the same contents is no error (`created` is False). Raises InvalidInput and its kin,
        AlreadyExists, FileChanged, DigestMismatch, TooLarge and other ApiErrors, ConnectionFailed.
        """
        push = Push(
            Path(folder), _reference(reference), bump, metadata or {}, origin or {}, use_git, aliases, is_public
        )
        return run_push(
            push, self, self._http, cache=self._cache, threads=self._threads, progress=progress or Progress()
        )

    def pull(
        self,
        reference: str | Reference,
        destination: str | Path | None = None,
        *,
        hardlink: bool = False,
        force: bool = False,
        progress: Progress | None = None,
    ) -> PullResult:
        """Get `ORG/NAME[:REF]` into a folder (default `./NAME`), every byte checked against its digest.

        Files come through a cache that all versions share, as copies of their own (reflinks where the file system has
        them), or with `hardlink` as read-only links into it. What an earlier pull put there is replaced or removed;
        other files stay, and where one is in the way WouldOverwrite is raised, unless `force`. Raises UnsafePath,
        DigestMismatch, NotFound and other ApiErrors, ConnectionFailed, TransferError.
        """
        folder = Path(destination) if destination is not None else None
        pull = Pull(_reference(reference), folder, hardlink, force)
        return run_pull(
            pull, self, self._http, cache=self._cache, threads=self._threads, progress=progress or Progress()
        )

    def verify(
        self, folder: str | Path, reference: str | Reference | None = None, *, progress: Progress | None = None
    ) -> VerifyResult:
        """Compare a folder with a version, reading every byte; without a reference, with what was pulled into it.

        Names what is missing, changed and extra. Raises InvalidInput, NotFound and other ApiErrors, ConnectionFailed.
        """
        target = _reference(reference) if reference is not None else None
        return run_verify(Path(folder), target, self, registry=self.url, progress=progress or Progress())


def _reference(reference: str | Reference) -> Reference:
    return Reference.parse(reference) if isinstance(reference, str) else reference
