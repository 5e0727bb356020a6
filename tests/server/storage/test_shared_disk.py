"""A local store that several processes write: none of them trusts what it remembers of an upload."""

import os
from pathlib import Path

import pytest

from steelyard.server.storage.local import LocalStore

KEY = "a" * 64 + ".00000001"
UPLOAD = "b" * 32


@pytest.mark.parametrize(("alone", "again"), [(True, 0), (False, 1)])
def test_what_another_process_may_have_written_since_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: bool, again: int
) -> None:
    synced = list[int]()
    monkeypatch.setattr(os, "fdatasync", synced.append)
    store = LocalStore(tmp_path / "store", alone=alone)
    with store.stage(UPLOAD, 0) as writer:
        writer.write([b"weights"])
    assert len(synced) == 1
    store.prove(UPLOAD)
    store.commit(UPLOAD, KEY)
    assert len(synced) == 1 + again
