"""The client of a Steelyard registry: typed, synchronous, and free of anything the server needs.

with steelyard.Client("https://registry.example.com", token) as client:
    client.push("build/tiny", "acme/tiny:1.0.0")
    client.pull("acme/tiny:^1", "models/tiny")
"""

from steelyard.client.client import Client
from steelyard.client.errors import (
    AlreadyExists,
    ApiError,
    AuthenticationFailed,
    BadRequest,
    Conflict,
    ConnectionFailed,
    DigestMismatch,
    FileChanged,
    Forbidden,
    InvalidCard,
    InvalidInput,
    InvalidReference,
    InvalidSettings,
    NotFound,
    RateLimited,
    ServerFailed,
    SteelyardError,
    TooLarge,
    TransferError,
    UnexpectedAnswer,
    UnsafeFolder,
    UnsafePath,
    UpgradeRequired,
    ValidationFailed,
    WouldOverwrite,
)
from steelyard.client.progress import Progress, Stage
from steelyard.client.references import ModelName, Reference

__all__ = [
    "AlreadyExists",
    "ApiError",
    "AuthenticationFailed",
    "BadRequest",
    "Client",
    "Conflict",
    "ConnectionFailed",
    "DigestMismatch",
    "FileChanged",
    "Forbidden",
    "InvalidCard",
    "InvalidInput",
    "InvalidReference",
    "InvalidSettings",
    "ModelName",
    "NotFound",
    "Progress",
    "RateLimited",
    "Reference",
    "ServerFailed",
    "Stage",
    "SteelyardError",
    "TooLarge",
    "TransferError",
    "UnexpectedAnswer",
    "UnsafeFolder",
    "UnsafePath",
    "UpgradeRequired",
    "ValidationFailed",
    "WouldOverwrite",
]
