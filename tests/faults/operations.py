"""What is asked of a registry while a part of it is broken: each operation, what it needs, and its moments."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from random import Random

import httpx2

from tests.faults.site import Part, Site
from tests.house.people import Person, oid_of, path_of
from tests.reliability.pushing import PART_BYTES

Act = Callable[[], httpx2.Response]

BEGINNING, COMMIT = rb"BEGIN", rb"COMMIT\x00"
WRITE_STAGED, READ_STAGED = rb"^PUT /\S*/staged/\S*\.", rb"^GET /\S*/staged/\S*\."
SEAL, COPY = rb"^PUT /\S*/sealed", rb"^(PUT|POST) /\S*/blobs/"
LOOK, READ = rb"^HEAD /\S*/blobs/", rb"^GET /\S*/blobs/"


@dataclass
class Scene:
    """Somebody at a site, and a model that is his alone; `prepare` of an operation makes what it needs, unbroken."""

    site: Site
    client: httpx2.Client
    random: Random
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    lock: threading.Lock = field(default_factory=threading.Lock)
    kept: dict[tuple[int, ...], str] = field(default_factory=dict)

    @property
    def ada(self) -> Person:
        return Person(self.client, "ada", self.site.token)

    def fresh(self) -> str:
        """A model that nobody has used."""
        with self.lock:
            return f"ada/model{next(self.numbers)}"

    def random_bytes(self, size: int) -> bytes:
        """Bytes that nobody has used."""
        with self.lock:
            return self.random.randbytes(size)

    def published(self, model: str, files: Mapping[str, bytes]) -> str:
        """A version 1.0.0 with these files; answers its path."""
        answer = self.ada.publish(f"{model}:1.0.0", files)
        assert answer.status_code == 201, answer.text
        return f"{path_of(model)}/1.0.0"

    def published_once(self, *sizes: int) -> str:
        """A version 1.0.0 with files of these sizes, `file0.bin` and so on, for those who only read; its path."""
        if sizes not in self.kept:
            files = {f"file{number}.bin": self.random_bytes(size) for number, size in enumerate(sizes)}
            self.kept[sizes] = self.published(self.fresh(), files)
        return self.kept[sizes]


@dataclass(frozen=True)
class Operation:
    """`prepare` answers what is to be done while a part is broken, and again when it is whole.

    `moments` are the bytes on a part's wire at which it may break; a part without any is not needed. `goods` are the
    statuses of success; one that `streams` may break off where it has begun to answer. One that `may_notice` a part
    only asks whether it is there, and remembers the answer for a second.
    """

    name: str
    prepare: Callable[[Scene], Act]
    moments: Mapping[Part, tuple[bytes, ...]]
    goods: tuple[int, ...] = (200,)
    streams: bool = False
    may_notice: Part | None = None

    def needs(self, part: Part) -> bool:
        return bool(self.moments.get(part))


def resolve(scene: Scene) -> Act:
    path = scene.published_once(1000)
    return lambda: scene.ada.get(path.removesuffix("/1.0.0"))


def list_models(scene: Scene) -> Act:
    return lambda: scene.ada.get("/org/ada/models")


def batch(scene: Scene) -> Act:
    model, data = scene.fresh(), scene.random_bytes(3 * PART_BYTES)
    return lambda: scene.ada.offer(model, data)


def batch_of_held(scene: Scene) -> Act:
    model, data = scene.fresh(), scene.random_bytes(1000)
    scene.published(model, {"config.json": data})
    return lambda: scene.ada.offer(model, data)


def put_whole(scene: Scene) -> Act:
    data = scene.random_bytes(PART_BYTES)
    link = scene.ada.offer(scene.fresh(), data).json()["objects"][0]["actions"]["upload"]["href"]
    return lambda: scene.client.put(link, content=data)


def put_part(scene: Scene) -> Act:
    data = scene.random_bytes(3 * PART_BYTES)
    links = scene.ada.offer(scene.fresh(), data).json()["objects"][0]["actions"]["upload"]["header"]
    return lambda: scene.client.put(links["2"], content=data[PART_BYTES : 2 * PART_BYTES])


def complete(scene: Scene) -> Act:
    data = scene.random_bytes(2 * PART_BYTES + 7)
    upload = scene.ada.offer(scene.fresh(), data).json()["objects"][0]["actions"]["upload"]
    for number in (1, 2, 3):
        part = data[(number - 1) * PART_BYTES : number * PART_BYTES]
        assert scene.client.put(upload["header"][str(number)], content=part).status_code == 200
    return lambda: scene.client.post(upload["href"], json={"oid": oid_of(data)})


def publish(scene: Scene) -> Act:
    return _publish(scene, "weights.bin", scene.random_bytes(5000))


def publish_weights(scene: Scene) -> Act:
    return _publish(scene, "w.safetensors", _weights(scene))


def compare_tensors(scene: Scene) -> Act:
    path = scene.published(scene.fresh(), {"w.safetensors": _weights(scene)}).removesuffix("/1.0.0")
    return lambda: scene.ada.get(f"{path}/compare?versions=1.0.0&versions=1.0.0&include=tensors")


def _weights(scene: Scene) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 4000]}}).encode()
    return len(header).to_bytes(8, "little") + header + scene.random_bytes(4000)


def _publish(scene: Scene, name: str, data: bytes) -> Act:
    model = scene.fresh()
    body = {"version": "1.0.0", "artifacts": {name: scene.ada.upload(model, data)[0]}}
    return lambda: scene.ada.post(f"{path_of(model)}/versions", body)


def set_metrics(scene: Scene) -> Act:
    path = scene.published(scene.fresh(), {"config.json": b"{}"})
    return lambda: scene.ada.put(f"{path}/metrics", {"accuracy": 1})


def get_file(scene: Scene) -> Act:
    path = scene.published_once(700_000)
    return lambda: scene.ada.get(f"{path}/files/file0.bin")


def get_range(scene: Scene) -> Act:
    path = scene.published_once(700_000)
    return lambda: scene.ada.get(f"{path}/files/file0.bin", headers={"Range": "bytes=1000-600000"})


def get_tar(scene: Scene) -> Act:
    path = scene.published_once(400_000, 400_000)
    link = scene.ada.post(f"{path}/download").json()["url"]
    return lambda: scene.client.get(link)


def delete(scene: Scene) -> Act:
    path = scene.published(scene.fresh(), {"config.json": scene.random_bytes(100)})
    return lambda: scene.ada.delete(path)


READS: dict[Part, tuple[bytes, ...]] = {"database": (BEGINNING,)}
WRITES: dict[Part, tuple[bytes, ...]] = {"database": (BEGINNING, COMMIT)}

OPERATIONS = (
    Operation("resolve", resolve, READS),
    Operation("list", list_models, READS),
    Operation("batch", batch, WRITES, may_notice="store"),
    Operation("batch of held bytes", batch_of_held, {**WRITES, "store": (LOOK,)}),
    Operation("whole file", put_whole, {**WRITES, "store": (WRITE_STAGED, COPY)}),
    Operation("part", put_part, {**WRITES, "store": (WRITE_STAGED,)}),
    Operation("completion", complete, {**WRITES, "store": (SEAL, READ_STAGED, COPY)}, (200, 202)),
    Operation("publish", publish, WRITES, (200, 201)),
    Operation("publish weights", publish_weights, {**WRITES, "store": (READ,)}, (200, 201)),
    Operation("metrics", set_metrics, WRITES),
    Operation("comparison of tensors", compare_tensors, {**READS, "store": (READ,)}),
    Operation("file", get_file, {**READS, "store": (READ,)}, streams=True),
    Operation("range", get_range, {**READS, "store": (READ,)}, (206,), streams=True),
    Operation("tar", get_tar, {**READS, "store": (READ,)}, streams=True),
    Operation("delete", delete, WRITES, (204, 404)),  # 404 says that it was deleted when nobody heard
)
