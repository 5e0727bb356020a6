"""Steelyard: a self-hosted registry for machine-learning models.

`steelyard.Client` is loaded when it is first asked for, so that `steelyard --help` and the server start without it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from steelyard.client import Client as Client

__all__ = ["Client", "__version__"]

__version__ = "0.2.0"


def __getattr__(name: str) -> object:
    if name == "Client":
        from steelyard.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
