"""Every metric of the registry, once: its name, its labels and what it means. docs/metrics.md is made from this page.

A label has few values. Those of most are listed here; the others are bounded by the code (`route`, by the routes there
are) or by HTTP (`status`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
_WORK_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_JOB_BUCKETS = (0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)

OPEN: tuple[str, ...] = ()
"""Of a label whose values are not listed."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other")
UNMATCHED = "unmatched"

_REQUEST = {"method": METHODS, "route": OPEN}
_TRANSACTIONS = ("read", "write", "beside")
_OPERATIONS = (
    "stage", "write", "close", "prove", "commit", "discard", "open", "read", "delete", "set_aside", "scan",
    "free_bytes", "begin", "list_parts", "join",
)  # fmt: skip
_ACTIONS = ("sign_in_failures", "read", "search", "write", "publish", "download", "transfer", "accounts")
_JOBS = ("prove", "gc", "chunk", "image", "unpack")
_JOB_FAULTS = (
    "database_error", "database_timeout_error", "storage_error", "storage_timeout_error", "validation_error",
    "conflict_error", "not_found_error", "invalid_request_error", "already_exists_error", "forbidden_error",
    "authentication_error", "internal_error", "lease_lost",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Instrument:
    """One metric. `labels` are name -> the values it can have, or `OPEN`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    says: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()
    together: Literal["sum", "max"] = "sum"
    """Of a gauge: what one number is made of those of a server's workers."""


REQUESTS = Instrument(
    "steelyard_http_requests_total",
    "counter",
    "Requests answered. A caller who left before his answer has status 499.",
    {**_REQUEST, "status": OPEN},
)
REQUEST_SECONDS = Instrument(
    "steelyard_http_request_duration_seconds",
    "histogram",
    "Seconds from a request's headers to the end of its answer; a whole file that the operating system sends is still "
    "under way then.",
    _REQUEST,
    _REQUEST_BUCKETS,
)
IN_FLIGHT = Instrument("steelyard_http_requests_in_flight", "gauge", "Requests being answered now.")
RECEIVED_BYTES = Instrument(
    "steelyard_http_received_bytes_total", "counter", "Bytes of bodies that arrived, uploads among them.", _REQUEST
)
SENT_BYTES = Instrument(
    "steelyard_http_sent_bytes_total",
    "counter",
    "Bytes of bodies handed to the network, files that the operating system sends among them.",
    _REQUEST,
)
REDIRECTED_BYTES = Instrument(
    "steelyard_http_redirected_bytes_total",
    "counter",
    "Bytes of the files, or ranges of files, that callers were sent to the store for.",
    _REQUEST,
)
TRANSACTION_SECONDS = Instrument(
    "steelyard_database_transaction_duration_seconds",
    "histogram",
    "Seconds of a database transaction, with what was done inside it. `beside` are short writes that run at once.",
    {"kind": _TRANSACTIONS},
    _WORK_BUCKETS,
)
LOCK_SECONDS = Instrument(
    "steelyard_database_lock_wait_seconds",
    "histogram",
    "Seconds that a write waited until it was its turn.",
    {"kind": ("write", "beside")},
    _WORK_BUCKETS,
)
DATABASE_FAILURES = Instrument(
    "steelyard_database_failures_total",
    "counter",
    "Transactions that the database failed, or did not answer in time.",
    {"kind": _TRANSACTIONS, "reason": ("database_error", "database_timeout_error")},
)
CONNECTIONS = Instrument(
    "steelyard_database_connections_in_use", "gauge", "Connections to the database that some thread holds now."
)
STORE_SECONDS = Instrument(
    "steelyard_store_operation_duration_seconds",
    "histogram",
    "Seconds of one call of the store of bytes. `read` and `write` are pieces; a file that the operating system or the "
    "store itself sends is not read here.",
    {"operation": _OPERATIONS},
    _WORK_BUCKETS,
)
STORE_FAILURES = Instrument(
    "steelyard_store_failures_total",
    "counter",
    "Calls that the store of bytes failed, or did not answer in time.",
    {"operation": _OPERATIONS, "reason": ("storage_error", "storage_timeout_error")},
)
STORE_READ_BYTES = Instrument(
    "steelyard_store_read_bytes_total", "counter", "Bytes of blobs that the server read piece by piece."
)
STORE_WRITTEN_BYTES = Instrument(
    "steelyard_store_written_bytes_total", "counter", "Bytes that the server wrote to the store."
)
PROOF_BYTES = Instrument(
    "steelyard_proof_read_bytes_total",
    "counter",
    "Bytes that the server read from the store to prove their SHA-256, in proofs that ended.",
)
CACHE_HITS = Instrument("steelyard_tree_cache_hits_total", "counter", "Lists of a version's files found in memory.")
CACHE_MISSES = Instrument("steelyard_tree_cache_misses_total", "counter", "Those read from the database.")
CACHE_BYTES = Instrument("steelyard_tree_cache_bytes", "gauge", "Bytes of memory that these lists take, by estimate.")
JOB_SECONDS = Instrument(
    "steelyard_job_duration_seconds",
    "histogram",
    "Seconds of one run of a background job on this server.",
    {"kind": _JOBS},
    _JOB_BUCKETS,
)
JOB_FAILURES = Instrument(
    "steelyard_job_failures_total",
    "counter",
    "Runs of a background job that did not end well. `validation_error`: bytes were not what was announced; "
    "`lease_lost`: another server has the job now.",
    {"kind": _JOBS, "reason": _JOB_FAULTS},
)
JOBS = Instrument(
    "steelyard_jobs",
    "gauge",
    "Background jobs in the queue of the whole registry: `due` now, `running` on some server, or to be done `later`.",
    {"kind": _JOBS, "state": ("due", "running", "later")},
)
JOB_AGE = Instrument(
    "steelyard_job_oldest_due_seconds",
    "gauge",
    "Seconds for which the oldest job of the kind has been due, over the whole registry.",
    {"kind": _JOBS},
)
UPLOADS = Instrument(
    "steelyard_uploads",
    "gauge",
    "Unfinished uploads of the whole registry.",
    {"state": ("open", "proving", "failed")},
)
REFUSALS = Instrument(
    "steelyard_rate_limit_refusals_total",
    "counter",
    "Requests refused because a budget was spent.",
    {"action": _ACTIONS},
)
COUNTS_ALONE = Instrument(
    "steelyard_rate_limit_counts_alone",
    "gauge",
    "1 while this server counts budgets by itself although it should count with others, since their common place does "
    "not answer; else 0.",
    together="max",
)
REMOVED = Instrument(
    "steelyard_clean_up_removed_total",
    "counter",
    "What clean-ups of this server removed: blobs and xorbs that nothing needs, files without a row, uploads left "
    "unfinished.",
    {"kind": ("blob", "xorb", "orphan", "upload")},
)
FREED_BYTES = Instrument(
    "steelyard_clean_up_freed_bytes_total",
    "counter",
    "Bytes that clean-ups of this server freed.",
    {"kind": ("blob", "xorb", "orphan")},
)
UP = Instrument(
    "steelyard_part_up",
    "gauge",
    "1 when the part answered this scrape within a second, else 0. What it would have told is missing then.",
    {"part": ("database", "store")},
)
FREE_BYTES = Instrument(
    "steelyard_store_free_bytes", "gauge", "Bytes that the store could still take; missing where it cannot know."
)
BUILD = Instrument(
    "steelyard_build_info", "gauge", "Always 1; the label is the release that runs.", {"version": OPEN}, together="max"
)

OF_EACH_WORKER = (CONNECTIONS, CACHE_BYTES, COUNTS_ALONE)
"""Looked at rather than counted, and of one process: the others have to be told."""

INSTRUMENTS = (
    REQUESTS, REQUEST_SECONDS, IN_FLIGHT, RECEIVED_BYTES, SENT_BYTES, REDIRECTED_BYTES,
    TRANSACTION_SECONDS, LOCK_SECONDS, DATABASE_FAILURES, CONNECTIONS,
    STORE_SECONDS, STORE_FAILURES, STORE_READ_BYTES, STORE_WRITTEN_BYTES, PROOF_BYTES, FREE_BYTES,
    CACHE_HITS, CACHE_MISSES, CACHE_BYTES,
    UPLOADS, JOBS, JOB_AGE, JOB_SECONDS, JOB_FAILURES, REMOVED, FREED_BYTES,
    REFUSALS, COUNTS_ALONE, UP, BUILD,
)  # fmt: skip
