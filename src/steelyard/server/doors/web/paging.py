"""Lists in pages, where they are short enough to be read whole and too long to be shown so."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Query

T = TypeVar("T")
ROWS_ON_A_PAGE = 100
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]


@dataclass(frozen=True, slots=True)
class Pages(Generic[T]):
    """A page of some rows; `total` counts those on all pages."""

    rows: Sequence[T]
    page: int
    last: int
    total: int


def page_of(rows: Sequence[T], page: int, size: int = ROWS_ON_A_PAGE) -> Pages[T]:
    """The page of that number."""
    return Pages(rows[(page - 1) * size : page * size], page, max(1, -(-len(rows) // size)), len(rows))
