"""How templates say things: addresses, sizes, numbers, moments, and what is not seen."""

from datetime import UTC, datetime, timedelta

import pytest

from steelyard.server.doors.web.pages import count, local_path, size, url_path, visible, when


@pytest.mark.parametrize(
    ("size_bytes", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_499, "999 kB"), (999_600, "1 MB"), (90_868_376, "90.9 MB"),
     (1_500_000_000, "1.5 GB"), (10**18, "1000 PB"), (None, "unknown")],
)  # fmt: skip
def test_sizes(size_bytes: int | None, said: str) -> None:
    assert size(size_bytes) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [(7, "7"), (7241, "7,241"), (999_999, "999,999"), (1_200_000, "1.2 million"), (7_615_616_512, "7.62 billion")],
)
def test_numbers(number: int, said: str) -> None:
    assert count(number) == said


def test_moments() -> None:
    now = datetime.now(UTC)
    ages = {"just now": 0, "1 minute ago": 70, "2 hours ago": 7300, "1 day ago": 90_000, "30 days ago": 30.5 * 86400}
    for said, seconds in ages.items():
        assert f">{said}</time>" in when(now - timedelta(seconds=seconds))
    assert ">2020-02-29</time>" in when(datetime(2020, 2, 29, tzinfo=UTC))
    assert when(None) == "never"


@pytest.mark.parametrize(
    ("segments", "query", "expected"),
    [
        (("acme", "tiny"), {}, "/acme/tiny"),
        (("acme", "tiny", "tree", "1.0.0+b", "a b/ü?.txt"), {}, "/acme/tiny/tree/1.0.0+b/a%20b/%C3%BC%3F.txt"),
        (("a/b", "c"), {}, "/a%2Fb/c"),
        (('"><script>', "x"), {}, "/%22%3E%3Cscript%3E/x"),
        ((), {"search": "a&b=c", "tags": ["x", "y"], "page": None, "license": ""}, "/?search=a%26b%3Dc&tags=x&tags=y"),
    ],
)
def test_addresses(segments: tuple[str, ...], query: dict[str, str | list[str] | None], expected: str) -> None:
    assert url_path(*segments, **query) == expected


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "evil", "", "/a\nb",
     "/\t/evil", "/a\\b", "/\u202e"],
)  # fmt: skip
def test_whoever_is_sent_on_stays_here(path: str) -> None:
    assert local_path(path) == "/"


def test_a_path_of_ours_is_kept() -> None:
    assert local_path("/acme/tiny?search=caf%C3%A9#x") == "/acme/tiny?search=caf%C3%A9#x"


def test_what_is_not_seen_is_written_out() -> None:
    assert visible("plain <b>\n\ttext") == "plain &lt;b&gt;\n\ttext"
    assert visible("Grüße 東京 👍") == "Grüße 東京 👍"
    for odd in "\u202e\u2066\x00\x1b\u200b\ufeff\u2028":
        shown = visible(f"<{odd}>")
        assert odd not in shown
        assert f"U+{ord(odd):04X}" in shown
        assert shown.startswith("&lt;") and shown.endswith("&gt;")
