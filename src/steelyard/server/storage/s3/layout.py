"""What things are called in the bucket.

<prefix>/blobs/sha256/<ab>/<cd>/<64 hex>.<nonce>     a proven blob; ab and cd are its first four digits
<prefix>/staged/<upload id>/<offset>.<when><nonce>   bytes of an upload, from this offset on; all in hex
<prefix>/staged/<upload id>/<offset>.direct          the same, sent by a client straight to the store
<prefix>/staged/<upload id>/sealed                   which of these the upload is made of
"""

import re
import secrets
import time
from urllib.parse import urlsplit

from steelyard.server.storage import check_key, check_upload_id

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_RUN = re.compile(r"([0-9a-f]{16})\.(direct|[0-9a-f]{24})")
_SEALED = "sealed"


def read_url(url: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix`. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not _BUCKET.fullmatch(parts.netloc) or parts.query or parts.fragment:
        raise ValueError("STEELYARD_STORE names an S3 store as s3://bucket/prefix; the prefix may be left out")
    return parts.netloc, parts.path.strip("/")


class Layout:
    """The names below one prefix. Raises ValueError for a key that is none, or an upload id."""

    def __init__(self, prefix: str) -> None:
        below = f"{prefix}/" if prefix else ""
        self.blobs = f"{below}blobs/sha256/"
        self.staged = f"{below}staged/"
        self._aside = f"{below}aside/"

    def blob(self, key: str) -> str:
        check_key(key)
        return f"{self.blobs}{key[:2]}/{key[2:4]}/{key}"

    def aside(self, key: str) -> str:
        return f"{self._aside}{check_key(key)}"

    def key_of(self, name: str) -> str | None:
        """The key of the blob of this name; None for what is not ours."""
        key = name.rpartition("/")[2]
        try:
            return key if name == self.blob(key) else None
        except ValueError:
            return None

    def upload(self, upload_id: str) -> str:
        """What the names of all that belongs to a staged upload begin with."""
        return f"{self.staged}{check_upload_id(upload_id)}/"

    def upload_id_of(self, name: str) -> str | None:
        """The staged upload that an object belongs to; None for what is not ours."""
        upload_id = name.removeprefix(self.staged).partition("/")[0]
        try:
            return upload_id if name.startswith(self.upload(upload_id)) else None
        except ValueError:
            return None

    def new_run(self, upload_id: str, offset_bytes: int) -> str:
        """A name that no run had before, and that sorts after those given out earlier for this offset."""
        if offset_bytes < 0:
            raise ValueError("an offset is not negative")
        return f"{self.upload(upload_id)}{offset_bytes:016x}.{time.time_ns():016x}{secrets.token_hex(4)}"

    def direct_run(self, upload_id: str) -> str:
        """The run that a client sends straight to the store: of one name, whichever server is asked."""
        return f"{self.upload(upload_id)}{0:016x}.direct"

    def sealed(self, upload_id: str) -> str:
        return f"{self.upload(upload_id)}{_SEALED}"


def offset_of(name: str) -> tuple[int, str] | None:
    """Where the bytes of a run belong, and what tells the later of two; None for what is no run."""
    match = _RUN.fullmatch(name.rpartition("/")[2])
    return (int(match[1], 16), match[2]) if match else None
