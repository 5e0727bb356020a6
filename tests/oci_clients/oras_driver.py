"""What a program with oras-py does. Runs in the environment of oras-py, and imports nothing of ours: reads a job as
JSON from its input, and prints the outcome.
"""

import json
import os
import sys
import time
from typing import Any

import oras.client  # type: ignore[import-not-found]

Job = dict[str, Any]


def push(client: Any, job: Job) -> None:
    """Push files by their names; the registry's word on the digest is printed."""
    os.chdir(job["folder"])
    answer = client.push(
        target=job["target"],
        files=job["files"],
        manifest_annotations=job.get("annotations"),
        do_chunked=job.get("chunked", False),
        quiet=True,
    )
    print(answer.headers["Docker-Content-Digest"])


def pull(client: Any, job: Job) -> None:
    """Pull into a folder."""
    client.pull(target=job["target"], outdir=job["outdir"])


def tags(client: Any, job: Job) -> None:
    """Print the tags."""
    client.auth.load_configs(client.get_container(job["target"]))
    print("\n".join(client.get_tags(job["target"])))


def delete(client: Any, job: Job) -> None:
    """Delete what a tag leads to."""
    client.auth.load_configs(client.get_container(job["target"]))
    if not client.delete_tag(job["target"], job["tag"]):
        sys.exit("there is no such tag")


def main() -> None:
    """Do the job that the command line names."""
    job = json.load(sys.stdin)
    # It tries a refused request five times, two minutes in all, before it says so: the outcome is the same at once.
    time.sleep = lambda seconds: None
    client = oras.client.OrasClient(hostname=job["registry"], insecure=True, auth_backend=job.get("backend", "token"))
    {"push": push, "pull": pull, "tags": tags, "delete": delete}[sys.argv[1]](client, job)


if __name__ == "__main__":
    main()
