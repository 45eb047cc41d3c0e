"""Who is who in a report: the shortest name that tells subjects apart, a colour each, and the curves they make."""

from collections.abc import Sequence
from dataclasses import dataclass

from modelrepo.perf.results.loads import Load
from modelrepo.perf.results.results import Measurement, Results, Subject

# The page has so many colours for subjects; the next one begins again.
COLOURS = 8


@dataclass(frozen=True)
class Subjects:
    """All subjects of a report, in the order in which they were named."""

    known: tuple[Subject, ...]

    @classmethod
    def of(cls, results: Results) -> "Subjects":
        """Find the subjects of the measurements, and of comparisons that have none."""
        found = [each.subject for each in results.measurements]
        found += [subject for each in results.comparisons for subject in (each.baseline, each.subject)]
        return cls(tuple(dict.fromkeys(found)))

    def name(self, subject: Subject) -> str:
        """Return the model's name, with version and protocol where the name is not enough."""
        same = [each for each in self.known if each.model == subject.model]
        version = f" version {subject.version}" if len({each.version for each in same}) > 1 else ""
        protocol = f" over {subject.protocol}" if len({each.protocol for each in self.known}) > 1 else ""
        return f"{subject.model}{version}{protocol}"

    def colour(self, subject: Subject) -> int:
        """Return the number of the subject's colour."""
        return self.known.index(subject) % COLOURS


@dataclass(frozen=True)
class Curve:
    """A subject under loads of one kind that grow: what a line connects."""

    subject: Subject
    batch_size: int
    arrivals: str | None
    points: tuple[Measurement, ...]

    @property
    def axis(self) -> str:
        """What grows along it."""
        return "concurrency" if self.arrivals is None else "requests per second"

    def suffix(self) -> str:
        """Return what tells it from the subject's other curves."""
        batch = f", batch {self.batch_size}" if self.batch_size > 1 else ""
        kind = {None: "", "constant": ", at a rate", "poisson": ", at a Poisson rate"}[self.arrivals]
        return batch + kind


def amount(load: Load) -> str:
    """Return the size of a load, without the unit that its axis tells."""
    return str(load.concurrency) if load.request_rate is None else f"{load.request_rate:g}"


def curves(measurements: Sequence[Measurement]) -> tuple[Curve, ...]:
    """Return the curves of measurements that have figures and belong to no scenario's phase, by growing load."""
    found: dict[tuple[Subject, int, str | None], list[Measurement]] = {}
    for each in measurements:
        if each.figures and not each.phase:
            kind = each.load.arrivals if each.load.request_rate is not None else None
            found.setdefault((each.subject, each.load.batch_size, kind), []).append(each)
    return tuple(
        Curve(*key, tuple(sorted(points, key=lambda each: each.load.request_rate or each.load.concurrency or 0)))
        for key, points in found.items()
    )
