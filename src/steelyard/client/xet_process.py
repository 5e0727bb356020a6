"""What `xet.py` starts: one transfer by the library `hf_xet`, in a process of its own, which ends with the one above.

The order is a line of JSON on stdin. Files to send are answered by two numbers a line on stdout, bytes done with and
bytes sent, a file to fetch by its bytes. What goes wrong is the last line on stderr, and the exit code says so.
"""

import json
import os
import sys
import threading
from typing import Any


def main() -> None:
    """Do what stdin says."""
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import hf_xet

    session = hf_xet.XetSession()
    if "files" in order:
        _send(session, order["grant"], order["files"])
    else:
        _fetch(session, order["grant"], hf_xet.XetFileInfo(order["hash"], order["size"]), order["spans"])


def _end_with_parent() -> None:
    """Stdin stays open for as long as anybody waits for us."""
    while os.read(0, 1):  # not by `sys.stdin`, whose lock the interpreter wants at its end
        pass
    os._exit(1)


def _send(session: Any, grant: dict[str, Any], files: list[dict[str, str]]) -> None:
    commit = session.new_upload_commit(**grant, progress_callback=_tell_progress)
    for file in files:
        commit.start_upload_file(file["path"], sha256=file["sha256"])
    report = commit.wait_to_finish()
    _tell(report.dedup_metrics.total_bytes, report.dedup_metrics.total_bytes_uploaded)


def _tell_progress(group: Any, _: object) -> None:
    _tell(group.total_bytes_completed, group.total_transfer_bytes_completed)


def _tell(done_bytes: int, sent_bytes: int) -> None:
    sys.stdout.write(f"{done_bytes} {sent_bytes}\n")
    sys.stdout.flush()


def _fetch(session: Any, grant: dict[str, Any], info: Any, spans: list[tuple[int, int]]) -> None:
    group = session.new_download_stream_group(**grant)
    for start, end in spans:
        for piece in group.download_stream(info, start=start, end=end):
            sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
