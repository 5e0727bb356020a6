"""The smallest CAS that the real hf_xet talks to, and that client as a process of its own.

It believes everything: what it is for is to see what the client sends, and to hand the client what we write.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from steelyard.server.xet.hashes import to_text

_PUSH = """
import sys, hf_xet
endpoint, *paths = sys.argv[1:]
with hf_xet.XetSession().new_upload_commit(endpoint=endpoint, token="t", token_expiry_unix_secs=2**33) as commit:
    for path in paths:
        commit.start_upload_file(path, sha256=hf_xet.COMPUTE_SHA256)
"""
_PULL = """
import sys, hf_xet
endpoint, hash_, size, path = sys.argv[1:]
session = hf_xet.XetSession()
with session.new_file_download_group(endpoint=endpoint, token="t", token_expiry_unix_secs=2**33) as group:
    group.start_download_file(hf_xet.XetFileInfo(hash_, int(size)), path)
"""


@dataclass
class Cas:
    """What clients sent, by the names they gave it, and what they are to be told."""

    url: str = ""
    xorbs: dict[str, bytes] = field(default_factory=dict)
    shards: list[bytes] = field(default_factory=list)
    dedup: dict[str, bytes] = field(default_factory=dict)
    reconstructions: dict[str, bytes] = field(default_factory=dict)

    def push(self, home: Path, *paths: Path) -> None:
        """Upload these files with a client whose caches are in `home`."""
        _run(home, _PUSH, self.url, *map(str, paths))

    def pull(self, home: Path, file_hash: bytes, size_bytes: int) -> bytes:
        """A file, by a client whose caches are in `home`."""
        path = home / "pulled"
        _run(home, _PULL, self.url, to_text(file_hash), str(size_bytes), str(path))
        return path.read_bytes()


def _run(home: Path, program: str, *arguments: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "HF_HOME": str(home)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr


@contextlib.contextmanager
def run_cas() -> Iterator[Cas]:
    """A CAS on a port of its own."""
    cas = Cas()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.path.startswith("/v1/xorbs/default/"):
                cas.xorbs[self.path.rsplit("/", 1)[1]] = body
                return self.answer(b'{"was_inserted":true}')
            if self.path == "/v2/shards":
                cas.shards.append(body)
                return self.answer(b'{"type":"result","result":1}\n')
            return self.answer(None)

        def do_GET(self) -> None:
            kind, name = self.path.split("/")[2], self.path.rsplit("/", 1)[1]
            if kind == "xorbs":
                first, last = map(int, self.headers["range"].removeprefix("bytes=").split("-"))
                return self.answer(cas.xorbs[name][first : last + 1], 206)
            return self.answer({"chunks": cas.dedup, "reconstructions": cas.reconstructions}[kind].get(name))

        def answer(self, body: bytes | None, status: int = 200) -> None:
            self.send_response(404 if body is None else status)
            self.send_header("content-length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    cas.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield cas
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reconstruction(url: str, xorb: str, raw_bytes: int, chunks: int, stored_bytes: int) -> bytes:
    """What tells a client that a file is the whole of one xorb."""
    term = {"hash": xorb, "unpacked_length": raw_bytes, "range": {"start": 0, "end": chunks}}
    part = {"chunks": term["range"], "bytes": {"start": 0, "end": stored_bytes - 1}}
    fetches = {xorb: [{"url": f"{url}/v1/xorbs/{xorb}", "ranges": [part]}]}
    return json.dumps({"offset_into_first_range": 0, "terms": [term], "xorbs": fetches}).encode()
