"""The provider that the settings name. Its libraries are loaded only where there is one."""

from typing import TYPE_CHECKING

from steelyard.server.settings import Settings

if TYPE_CHECKING:
    from steelyard.server.openid.provider import Provider


def open_provider(settings: Settings) -> "Provider | None":
    """The provider, if there is one; nobody is asked anything yet. Raises `ValueError` where its libraries lack."""
    if settings.oidc_issuer is None:
        return None
    try:
        from steelyard.server.openid.provider import Client, Provider
    except ModuleNotFoundError as missing:
        raise ValueError("oidc_issuer needs Authlib: pip install 'steelyard[server,oidc]'") from missing
    secret = settings.oidc_client_secret.get_secret_value() if settings.oidc_client_secret else None
    client = Client(settings.oidc_issuer, settings.oidc_client_id or "", secret, settings.oidc_scopes)
    return Provider(client, timeout_seconds=settings.oidc_timeout_seconds)
