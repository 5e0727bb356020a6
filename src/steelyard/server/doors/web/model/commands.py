"""How to get a model, ready to be copied: for each client its commands, with this server and this version filled in.

`tests/server/doors/web/test_model.py` takes them from the page and runs them. Names come from grammars that have no
quotes in them; they are quoted all the same.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from steelyard.server.doors.web.pages import url_path
from steelyard.server.names import IMAGE_SUFFIX, InvalidName, Version, is_range

Language = Literal["sh", "python", "js"]
_FIRST = "Put your token into STEELYARD_TOKEN first."


@dataclass(frozen=True, slots=True)
class Use:
    """What is to be had from where. `ref` is what the reader's address says; `path` one file of the version, if it has
    any; `loads` says that transformers can make something of it, `is_open` that nobody needs a token for it."""

    server_url: str
    org: str
    name: str
    ref: str
    path: str
    loads: bool
    is_open: bool

    @property
    def full_name(self) -> str:
        """`org/name`."""
        return f"{self.org}/{self.name}"

    @property
    def reference(self) -> str:
        """As our own client has it; what names no version is the latest."""
        return self.full_name if self.ref == "latest" else f"{self.full_name}:{self.ref}"

    def api_url(self, *below: str) -> str:
        """The version in the native API, or something below it."""
        return self.server_url + url_path("api", "v1", "org", self.org, "models", self.name, self.ref, *below)


@dataclass(frozen=True, slots=True)
class Snippet:
    """Something to copy; `says` is what it does, as its button tells a screen reader."""

    language: Language
    says: str
    text: str


@dataclass(frozen=True, slots=True)
class Way:
    """One client. `token` is where it finds the reader's token, where it needs one and does not ask for it."""

    id: str
    title: str
    token: str
    snippets: Sequence[Snippet]


def ways_of(use: Use) -> list[Way]:
    """Every way to get it that works here. A new door adds its own to this list."""
    ways = [_steelyard(use), _python(use), _hub(use), _transformers(use), _containers(use), _curl(use), _fetch(use)]
    return [way for way in ways if way is not None]


def _steelyard(use: Use) -> Way:
    url, reference = shlex.quote(use.server_url), shlex.quote(use.reference)
    if use.is_open:
        return Way(
            "steelyard",
            "steelyard",
            "",
            [Snippet("sh", "get the files", f"steelyard pull --url {url} {reference}")],
        )
    login = Snippet("sh", "log in, which asks for your token", f"steelyard login {url}")
    return Way("steelyard", "steelyard", "", [login, Snippet("sh", "get the files", f"steelyard pull {reference}")])


def _python(use: Use) -> Way:
    lines = [
        "from steelyard import Client",
        "",
        f"with Client({_text(use.server_url)}) as client:",
        f"    pulled = client.pull({_text(use.reference)})",
        "print(pulled.destination)",
    ]
    token = "" if use.is_open else "It takes the token of steelyard login, or STEELYARD_TOKEN."
    return Way("python", "Python", token, [Snippet("python", "get the files in Python", "\n".join(lines))])


def _hub(use: Use) -> Way:
    """Without a revision the Hub's clients ask for `main`, which to members is a draft."""
    token = "" if use.is_open else ' HF_TOKEN="$STEELYARD_TOKEN"'
    line = (
        f"HF_ENDPOINT={shlex.quote(use.server_url)}{token} \\\n"
        f"  hf download {shlex.quote(use.full_name)} --revision {shlex.quote(use.ref)} \\\n"
        f"  --local-dir {shlex.quote(use.name)}"
    )
    install = Snippet("sh", "install hf", "pip install huggingface_hub")
    return Way("hf", "hf", _token(use), [install, Snippet("sh", "get the files by hf", line)])


def _transformers(use: Use) -> Way | None:
    if not use.loads:
        return None
    lines = [
        "import os",
        "",
        f'os.environ["HF_ENDPOINT"] = {_text(use.server_url)}  # before the import',
        *([] if use.is_open else ['os.environ["HF_TOKEN"] = os.environ["STEELYARD_TOKEN"]']),
        "",
        "from transformers import AutoModel",
        "",
        f"model = AutoModel.from_pretrained({_text(use.full_name)}, revision={_text(use.ref)})",
    ]
    snippet = Snippet("python", "load it with transformers", "\n".join(lines))
    return Way("transformers", "transformers", _token(use), [snippet])


def _containers(use: Use) -> Way | None:
    """As an artifact whose layers are the files, and as an image that runtimes mount. Tags know no ranges."""
    tag = _tag(use.ref)
    if tag is None:
        return None
    scheme, _, host = use.server_url.partition("://")
    place = f"{host}/{use.full_name.lower()}:{tag}"
    plain = scheme == "http"  # which these tools refuse unless they are told
    copying = [] if use.is_open else ['--src-creds "token:$STEELYARD_TOKEN"']
    pulling = [] if use.is_open else ['--creds "token:$STEELYARD_TOKEN"']
    copy = _lines(
        " ".join(["skopeo copy", *(["--src-tls-verify=false"] if plain else []), *copying]),
        shlex.quote(f"docker://{place}"),
        shlex.quote(f"dir:{use.name}"),
    )
    pull = " ".join(["podman pull", *(["--tls-verify=false"] if plain else []), *pulling])
    return Way(
        "containers",
        "Containers",
        _token(use),
        [
            Snippet("sh", "get the files as an OCI artifact", copy),
            Snippet("sh", "get an image of the files", _lines(pull, shlex.quote(f"{place}{IMAGE_SUFFIX}"))),
        ],
    )


def _tag(reference: str) -> str | None:
    """What leads a container tool to the same version; None for a range."""
    try:
        return Version.parse(reference).tag
    except InvalidName:
        return None if is_range(reference) else reference


def _curl(use: Use) -> Way:
    header = [] if use.is_open else ['--header "Authorization: Bearer $STEELYARD_TOKEN"']
    snippets = [Snippet("sh", "see what it is", _lines("curl --fail", *header, shlex.quote(use.api_url())))]
    if use.path:
        to = f"--output {shlex.quote('./' + use.path.rpartition('/')[2])}"
        url = shlex.quote(use.api_url("files", use.path))
        snippets.append(Snippet("sh", "get one file", _lines("curl --fail --location", *header, to, url)))
    return Way("curl", "curl", _token(use), snippets)


def _fetch(use: Use) -> Way:
    headers = "" if use.is_open else "Authorization: `Bearer ${process.env.STEELYARD_TOKEN}`"
    lines = [
        f"const headers = {{ {headers} }};" if headers else "const headers = {};",
        f"const answer = await fetch({_text(use.api_url())}, {{ headers }});",
        "if (!answer.ok) throw new Error(await answer.text());",
        "console.log(await answer.json());",
    ]
    if use.path:
        lines += [
            "",
            f"const file = await fetch({_text(use.api_url('files', use.path))}, {{ headers }});",
            "console.log((await file.arrayBuffer()).byteLength);",
        ]
    token = "" if use.is_open else f"It runs in Node.js as it stands. {_FIRST}"
    return Way("fetch", "JavaScript", token, [Snippet("js", "get it with fetch", "\n".join(lines))])


def _token(use: Use) -> str:
    return "" if use.is_open else _FIRST


def _lines(*parts: str) -> str:
    return " \\\n  ".join(parts)


def _text(text: str) -> str:
    """As Python and JavaScript write a text."""
    return json.dumps(text)
