"""Every setting of the server, once: a flag of `steelyard serve`, a `STEELYARD_…` variable, a key of `steelyard.toml`.

They take precedence in that order. The table in docs/operations.md is made from this class.
"""

import os
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from steelyard.server.names import Version

DATABASE_NAME = "steelyard.sqlite3"
KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40

Network = IPv4Network | IPv6Network


class Settings(BaseSettings):
    """What an operator may choose. Sizes are bytes, times are seconds; 0 switches a limit off."""

    model_config = SettingsConfigDict(env_prefix="STEELYARD_", extra="forbid", frozen=True, validate_default=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8950, ge=0, le=65535, description="Port to listen on.")
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that serve, for machines with several cores (Linux). Each takes some 100 MB, and counts "
        "rate limits for itself unless `limits` names a place for all.",
    )
    data: Path = Field(Path("steelyard-data"), description="Data directory: the embedded database and the bytes.")
    admin_token: SecretStr | None = Field(
        None,
        description="First token of the instance admin (32 characters or more). Used only while no user exists.",
    )
    database: str | None = Field(
        None, description="SQLAlchemy URL of the database. A SQLite file in the data directory when unset."
    )
    store: str | None = Field(
        None,
        description="Where the bytes are: `s3://bucket/prefix`, or `memory:` for trying out. "
        "A folder in the data directory when unset.",
    )
    store_direct: bool = Field(
        True,
        description="Let clients and an S3 store exchange bytes by signed links. Off: all bytes go through the "
        "registry, for stores that clients cannot reach.",
    )
    s3_endpoint: str | None = Field(
        None, description="URL of an S3-compatible store. Amazon's own when unset; the usual `AWS_*` say the rest."
    )
    s3_public_endpoint: str | None = Field(
        None, description="URL by which clients reach the same store, for signed links. As `s3_endpoint` when unset."
    )
    limits: str = Field(
        "memory", description="Where rate limits are counted: `memory` (each server for itself), `redis://…` or `off`."
    )
    xet: bool = Field(
        True,
        description="Exchange large files in chunks with clients of Xet, and cut those in the background that came "
        "whole. When off, all files go whole; clients that insist on Xet are refused until HF_HUB_DISABLE_XET=1 is "
        "set.",
    )
    public_url: str | None = Field(
        None, description="What absolute links are built from. The request's own Host header when unset."
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        (), description="Addresses or networks, joined by commas, whose X-Forwarded-* headers are believed."
    )
    accel_redirect: str | None = Field(
        None,
        pattern=r"^/([A-Za-z0-9._~-]+/)+$",
        description="Let an nginx among `trusted_proxies` send the bytes of files, which it is told by "
        "X-Accel-Redirect: the internal location that stands for the store's folder, such as `/stored/`. See "
        "`deploy/nginx-files.conf`.",
    )
    anonymous_public: bool = Field(False, description="Open public models to callers without a token.")
    web: bool = Field(True, description="Serve the web pages.")
    session_ttl_seconds: int = Field(
        30 * 86400, ge=60, description="How long a browser stays signed in to the web pages, at the most."
    )
    oidc_issuer: str | None = Field(
        None,
        max_length=255,
        description="Issuer URL of an OpenID provider, exactly as that one writes it: the web pages then let people "
        "sign in with it.",
    )
    oidc_client_id: str | None = Field(
        None, max_length=255, validate_default=True, description="What the provider calls this server."
    )
    oidc_client_secret: SecretStr | None = Field(
        None, description="The secret that the provider gave this server; unset for a public client."
    )
    oidc_name: str = Field(
        "single sign-on", min_length=1, max_length=60, description="What the button says: `Sign in with …`."
    )
    oidc_scopes: str = Field(
        "openid profile email", description="What the provider is asked to tell, joined by spaces; `openid` is needed."
    )
    oidc_create_users: bool = Field(
        False,
        description="Make a user of whoever the provider lets in. Off: only people who have linked their identity.",
    )
    oidc_timeout_seconds: float = Field(
        5.0, gt=0, description="How long a sign-in waits for each answer of the provider."
    )
    min_client: str | None = Field(None, description="Oldest steelyard client served; older ones get 426.")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins, joined by commas, whose pages may call the API from a browser."
    )
    log_format: Literal["text", "json"] = Field("text", description="Shape of the log lines on standard error.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    metrics_token: SecretStr | None = Field(
        None,
        description="What Prometheus sends as its bearer token to read `/metrics` (16 characters or more). An instance "
        "admin's token, or a direct connection from this machine, when unset.",
    )
    deployment_mode: str = Field("self-hosted", max_length=50, description="What `/config` says this instance is.")
    website_url: str | None = Field(None, description="What `/config` names as this instance's web site.")

    max_body_bytes: int = Field(32 * MIB, ge=KIB, description="Largest JSON body read.")
    max_file_bytes: int = Field(TIB, ge=0, description="Largest single file taken; 0 for no limit.")
    quota_org_bytes: int = Field(0, ge=0, description="Most bytes that one organisation may hold; 0 for no limit.")
    max_open_uploads: int = Field(
        20_000, ge=0, description="Most unfinished uploads that one organisation may have; 0 for no limit."
    )
    free_disk_floor_bytes: int = Field(
        GIB, ge=0, description="Uploads are refused when less than this would stay free on the disk."
    )
    part_size_bytes: int = Field(16 * MIB, ge=64 * KIB, description="Size of one part of a multipart upload.")

    ticket_ttl_seconds: int = Field(3600, ge=1, description="How long the signed links of an upload work.")
    download_ttl_seconds: int = Field(3600, ge=1, description="How long the signed link of a download works.")
    upload_ttl_seconds: int = Field(7 * 86400, ge=1, description="Unfinished uploads older than this are thrown away.")
    gc_grace_seconds: int = Field(
        86400, ge=0, description="Bytes that nothing needs are kept this long before clean-up removes them."
    )
    xorb_grace_seconds: int = Field(
        22 * 86400,
        ge=0,
        description="Chunks that no file needs are kept this long: clients of Xet build for three weeks on what they "
        "sent once. Less makes them send more again.",
    )
    gc_interval_seconds: int = Field(3600, ge=0, description="Time between clean-ups; 0 for none.")
    database_timeout_seconds: float = Field(
        5.0, gt=0, description="How long a request waits for a locked or silent database before it answers 504."
    )
    store_timeout_seconds: float = Field(
        10.0, gt=0, description="How long a request waits for a silent S3 store before it answers 504."
    )
    limits_timeout_seconds: float = Field(
        0.5, gt=0, description="How long a request waits for a silent Valkey before its server counts by itself."
    )
    shutdown_delay_seconds: float = Field(
        0.0,
        ge=0,
        description="After SIGTERM, how long to serve on with `/ready` at 503 before stopping, so that a load balancer "
        "can look elsewhere first.",
    )
    job_lease_seconds: float = Field(
        60.0, ge=1, description="A server that is silent for so long loses its background jobs to another."
    )
    prove_wait_seconds: float = Field(
        10.0, ge=0, description="How long completing an upload waits for the proof before it answers 202."
    )

    limit_sign_in_failures: str = Field(
        "60/minute", description="Budget, by address: requests with a wrong credential."
    )
    limit_read: str = Field("off", description="Budget, by caller: reads of metadata.")
    limit_search: str = Field("1200/minute", description="Budget, by caller: lists, facets, activity, audit.")
    limit_write: str = Field("1200/minute", description="Budget, by caller: changes of metadata.")
    limit_publish: str = Field("600/minute", description="Budget, by caller: publishing versions.")
    limit_download: str = Field("1200/minute", description="Budget, by caller: asking for downloads of whole versions.")
    limit_transfer: str = Field("off", description="Budget, by caller: files and parts sent or fetched.")
    limit_accounts: str = Field(
        "300/minute", description="Budget, by caller: making and changing users, organisations, members and tokens."
    )

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            return value
        return tuple(ip_network(part.strip()) if isinstance(part, str) else part for part in parts if part)

    @field_validator("accel_redirect")
    @classmethod
    def _files_for_somebody(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("store") is not None:
            raise ValueError("accel_redirect is for bytes in the data directory, and `store` names another place")
        if value is not None and not info.data.get("trusted_proxies"):
            raise ValueError("accel_redirect needs trusted_proxies: only a proxy of yours is told names of files")
        return value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _origins(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("admin_token")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:
            raise ValueError("the admin token needs 32 characters or more")
        return value

    @field_validator("metrics_token")
    @classmethod
    def _not_guessed(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 16:
            raise ValueError("the metrics token needs 16 characters or more")
        return value

    @field_validator("min_client")
    @classmethod
    def _a_version(cls, value: str | None) -> str | None:
        if value is not None:
            Version.parse(value)
        return value

    @field_validator("oidc_issuer")
    @classmethod
    def _an_issuer(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        is_here = parts.hostname in ("127.0.0.1", "::1", "localhost")
        if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_here)):
            raise ValueError("the issuer begins with https:// (http:// only on this machine)")
        if parts.query or parts.fragment or parts.username is not None or not value.isascii() or " " in value:
            raise ValueError("the issuer is a URL without a user, a query or a fragment")
        return value

    @field_validator("oidc_client_id")
    @classmethod
    def _known_to_the_provider(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("oidc_issuer") and not value:
            raise ValueError("oidc_issuer needs oidc_client_id: what the provider calls this server")
        return value

    @field_validator("oidc_scopes")
    @classmethod
    def _with_openid(cls, value: str) -> str:
        if "openid" not in value.split():
            raise ValueError("the scopes have `openid` among them")
        return " ".join(value.split())

    @field_validator("public_url")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("the public URL begins with http:// or https://")
        return value.rstrip("/") if value else None

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database or f"sqlite:///{(self.data / DATABASE_NAME).absolute()}"

    @property
    def keeps_files(self) -> bool:
        """Whether the data directory is in use, by the embedded database or the store."""
        return self.store is None or self.database_url.startswith("sqlite")

    @property
    def store_folder(self) -> Path:
        """Where the local store keeps its bytes."""
        return self.data / "store"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then the environment, then the file named by STEELYARD_SETTINGS (steelyard.toml by default)."""
        named = os.environ.get("STEELYARD_SETTINGS")
        if named and not Path(named).is_file():
            raise ValueError(f"STEELYARD_SETTINGS names {named}, and there is no such file")
        file = Path(named or "steelyard.toml")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file)


class SettingsOfFile(Settings):
    """What one file says, given as keywords, whatever the environment and other files do: of another registry."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **_others: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """None but the keywords."""
        return (init_settings,)
