"""The subjects of a report: the shortest names that distinguish them, a colour each, and their curves."""

from collections.abc import Sequence
from dataclasses import dataclass

from modelrepo.perf.results.loads import Load
from modelrepo.perf.results.results import Measurement, Results, Subject

# The number of colours for subjects on the page; then they repeat.
COLOURS = 8


@dataclass(frozen=True)
class Subjects:
    """All subjects of a report, in the order in which they were named."""

    known: tuple[Subject, ...]

    @classmethod
    def of(cls, results: Results) -> "Subjects":
        """Return the subjects of the measurements, and those of comparisons without measurements."""
        found = [each.subject for each in results.measurements]
        found += [subject for each in results.comparisons for subject in (each.baseline, each.subject)]
        return cls(tuple(dict.fromkeys(found)))

    def name(self, subject: Subject) -> str:
        """Return the model's name, with version and protocol if the name is not enough."""
        same = [each for each in self.known if each.model == subject.model]
        version = f" version {subject.version}" if len({each.version for each in same}) > 1 else ""
        protocol = f" over {subject.protocol}" if len({each.protocol for each in self.known}) > 1 else ""
        return f"{subject.model}{version}{protocol}"

    def colour(self, subject: Subject) -> int:
        """Return the number of the subject's colour."""
        return self.known.index(subject) % COLOURS


@dataclass(frozen=True)
class Curve:
    """A subject under growing loads of one kind, drawn as one line."""

    subject: Subject
    batch_size: int
    arrivals: str | None
    points: tuple[Measurement, ...]

    @property
    def axis(self) -> str:
        """The name of the load that grows along it."""
        return "concurrency" if self.arrivals is None else "requests per second"

    def suffix(self) -> str:
        """Return the difference from the subject's other curves."""
        batch = f", batch {self.batch_size}" if self.batch_size > 1 else ""
        kind = {None: "", "constant": ", at a rate", "poisson": ", at a Poisson rate"}[self.arrivals]
        return batch + kind


def amount(load: Load) -> str:
    """Return the size of a load without its unit, which the axis shows."""
    return str(load.concurrency) if load.request_rate is None else f"{load.request_rate:g}"


def curves(measurements: Sequence[Measurement]) -> tuple[Curve, ...]:
    """Return the curves of measurements with figures that belong to no phase of a scenario, by growing load."""
    found: dict[tuple[Subject, int, str | None], list[Measurement]] = {}
    for each in measurements:
        if each.figures and not each.phase:
            kind = each.load.arrivals if each.load.request_rate is not None else None
            found.setdefault((each.subject, each.load.batch_size, kind), []).append(each)
    return tuple(
        Curve(*key, tuple(sorted(points, key=lambda each: each.load.request_rate or each.load.concurrency or 0)))
        for key, points in found.items()
    )
