"""A page of metrics as a test reads it, through the parser that `prometheus_client` has for it."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Sample

from tests.house.people import Person


@dataclass(frozen=True)
class Scraped:
    """All samples of one page."""

    samples: tuple[Sample, ...]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels; 0 where there is none."""
        return sum(sample.value for sample in self.find(name, **labels))

    def find(self, name: str, **labels: str) -> Iterator[Sample]:
        """The samples of this name that have these labels, and any others."""
        return (it for it in self.samples if it.name == name and labels.items() <= it.labels.items())

    def has(self, name: str, **labels: str) -> bool:
        """Whether there is such a sample."""
        return any(self.find(name, **labels))

    @property
    def series(self) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        """What Prometheus would keep apart."""
        return {(sample.name, frozenset(sample.labels.items())) for sample in self.samples}


def read_page(text: str) -> Scraped:
    """A page of either format."""
    parse = parse_openmetrics if text.endswith("# EOF\n") else parse_text
    return Scraped(tuple(sample for family in parse(text) for sample in family.samples))


def scrape(person: Person) -> Scraped:
    """The page that somebody gets who may read it."""
    answered = person.get("/metrics")
    assert answered.status_code == 200, answered.text
    return read_page(answered.text)
