"""Models with files of every kind, for the tests of their pages."""

import base64
import json
import struct
import zlib
from itertools import count

from tests.house import Person
from tests.server.core.files.weight_files import safetensors

_numbers = count(1)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\0\x80"))
    + chunk(b"IEND", b"")
)
GIF = b"GIF89a\1\0\1\0\0\0\0;"
JPEG = b"\xff\xd8\xff\xe0" + bytes(40)
WEBP = b"RIFF\x1a\0\0\0WEBPVP8L" + bytes(14)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
LAYERS = {f"layers.{number}.weight": [2, 3] for number in range(150)}
FILES = {
    "README.md": b"---\nlicense: mit\n---\n# Tiny\n",
    "config.json": b'{"layers": 2}\n',
    "nested/deeper/a b.txt": b"deep\n",
    "nested/one.txt": "grüße\n".encode(),
    "nested/100%25.txt": b"percent\n",
    "näher/日本語.txt": b"unicode\n",
    "pixel.png": PNG,
    "model.safetensors": safetensors(LAYERS, {"format": "pt"}),
}


class Shelf:
    """A private model of somebody's."""

    def __init__(self, owner: Person, files: dict[str, bytes] | None = None) -> None:
        self.owner = owner
        self.ref = f"{owner.name}/tiny{next(_numbers)}"
        self.url = f"/{self.ref}"
        self.publish("1.0.0", FILES if files is None else files)

    def publish(self, version: str, files: dict[str, bytes]) -> None:
        published = self.owner.publish(f"{self.ref}:{version}", files)
        assert published.status_code == 201, published.text

    def commit(self, path: str, content: bytes, branch: str = "main") -> str:
        """A draft that has one file more; answers its sha."""
        lines = [
            {"key": "header", "value": {"summary": "a draft"}},
            {"key": "file", "value": {"path": path, "content": base64.b64encode(content).decode()}},
        ]
        made = self.owner.client.post(
            f"/api/models/{self.ref}/commit/{branch}",
            content="\n".join(map(json.dumps, lines)),
            headers={"Authorization": f"Bearer {self.owner.token}", "Content-Type": "application/x-ndjson"},
        )
        assert made.status_code == 200, made.text
        return str(made.json()["commitOid"])

    def make_public(self) -> None:
        org, name = self.ref.split("/")
        assert self.owner.patch(f"/org/{org}/models/{name}/visibility", {"is_public": True}).status_code == 200

    def downloads(self) -> int:
        org, name = self.ref.split("/")
        return int(self.owner.get(f"/org/{org}/models/{name}").json()["download_count"])
