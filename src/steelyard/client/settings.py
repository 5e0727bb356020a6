"""Which registry, with which token: from arguments, then the environment, then the login file.

The login file keeps one token per origin, readable by its owner only. A token from the environment belongs to the
address in the environment: it is not sent to another origin that an argument names.
"""

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from steelyard.client.addresses import base_url, origin
from steelyard.client.errors import InvalidSettings

_MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Connection:
    """Where to call and with what: `token` None calls as nobody; `source` says where the token is from."""

    url: str
    token: str | None = field(default=None, repr=False)
    source: str = "none"


def find_connection(
    url: str | None = None,
    token: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    login_file: Path | None = None,
) -> Connection:
    """The registry's address and token. Raises InvalidSettings when no address is known, or one is malformed.

    The login file is read only for what neither the arguments nor the environment say.
    """
    environ = os.environ if environ is None else environ
    path = login_file or login_path(environ)
    env_url = environ.get("STEELYARD_URL", "").strip() or None
    chosen = url or env_url or LoginFile.read(path).default
    if not chosen:
        raise InvalidSettings(
            "no registry is named: run `steelyard login ADDRESS`, or set STEELYARD_URL, or give --url ADDRESS"
        )
    base = base_url(chosen)
    if token:
        return Connection(base, _checked_token(token), "argument")
    env_token = environ.get("STEELYARD_TOKEN", "").strip()
    if env_token and (env_url is None or origin(base_url(env_url)) == origin(base)):
        return Connection(base, _checked_token(env_token), "STEELYARD_TOKEN")
    stored = LoginFile.read(path).tokens.get(origin(base))
    return Connection(base, _checked_token(stored), "login") if stored else Connection(base)


def _checked_token(token: str) -> str:
    if not token.isascii() or not token.isprintable():
        raise InvalidSettings("the token has characters that no token has; was it copied whole?")
    return token


def login_path(environ: Mapping[str, str] | None = None) -> Path:
    """Where logins are kept: STEELYARD_CONFIG, or `steelyard/credentials.json` under XDG_CONFIG_HOME."""
    environ = os.environ if environ is None else environ
    if named := environ.get("STEELYARD_CONFIG"):
        return Path(named)
    home = environ.get("XDG_CONFIG_HOME") or (environ.get("APPDATA") if sys.platform == "win32" else None)
    return (Path(home) if home else Path.home() / ".config") / "steelyard" / "credentials.json"


def cache_path(environ: Mapping[str, str] | None = None) -> Path:
    """Where pulled bytes and hashes are kept: STEELYARD_CACHE, or `steelyard` under XDG_CACHE_HOME."""
    environ = os.environ if environ is None else environ
    if named := environ.get("STEELYARD_CACHE"):
        return Path(named)
    home = environ.get("XDG_CACHE_HOME") or (environ.get("LOCALAPPDATA") if sys.platform == "win32" else None)
    return (Path(home) if home else Path.home() / ".cache") / "steelyard"


@dataclass(frozen=True)
class LoginFile:
    """The logins of this user: `default` is the address used when none is named, `tokens` maps origin to token."""

    path: Path
    default: str | None = None
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, path: Path) -> "LoginFile":
        """The file's logins; none when there is no file. Raises InvalidSettings when others may read it."""
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read(_MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return cls(path)
        except OSError as error:
            raise InvalidSettings(f"the login file {path} cannot be read: {error.strerror}") from None
        if os.name == "posix" and mode & 0o077:
            raise InvalidSettings(f"others may read the tokens in {path}; close it with: chmod 600 {path}")
        try:
            body = json.loads(data)
            tokens = {str(key): str(value) for key, value in body["tokens"].items()}
            default = body.get("default")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise InvalidSettings(f"the login file {path} is damaged; remove it and log in again") from None
        return cls(path, default if isinstance(default, str) else None, tokens)

    def with_token(self, url: str, token: str) -> "LoginFile":
        """These logins and one more, which becomes the default."""
        base = base_url(url)
        return LoginFile(self.path, base, {**self.tokens, origin(base): _checked_token(token)})

    def without(self, url: str) -> "LoginFile":
        """These logins without the one of this address's origin."""
        gone = origin(base_url(url))
        tokens = {key: value for key, value in self.tokens.items() if key != gone}
        keep_default = self.default is not None and origin(base_url(self.default)) != gone
        return LoginFile(self.path, self.default if keep_default else None, tokens)

    def write(self) -> None:
        """Put the file in place whole, readable by its owner only from the first byte on."""
        text = json.dumps({"default": self.default, "tokens": dict(self.tokens)}, indent=2) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=".credentials-")  # mode 600
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                Path(temporary).replace(self.path)
            except BaseException:
                with suppress(OSError):
                    Path(temporary).unlink()
                raise
        except OSError as error:
            raise InvalidSettings(f"the login file {self.path} cannot be written: {error.strerror}") from None
