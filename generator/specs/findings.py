"""What verification, accuracy and the live check found."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Worst:
    """The place where converted model and source lie furthest apart, measured against the tolerance."""

    output: str
    family: str
    batch: int
    index: tuple[int, ...]
    difference: float
    limit: float

    @property
    def share_of_limit(self) -> float:
        """The difference as a share of what is allowed."""
        return self.difference / self.limit if self.limit else 0.0


@dataclass(frozen=True)
class Live:
    """What the live check in a real Triton found: ``detail`` is the server, or the reason why there was no check.

    ``cases`` and ``max_rel_diff`` are as in Verification, over all protocols; ``largest_merged_batch`` is the largest
    batch that the dynamic batcher formed from single requests, None where it had none to form.
    """

    status: Literal["passed", "skipped"]
    detail: str
    cases: int = 0
    max_rel_diff: float | None = None
    largest_merged_batch: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Accuracy:
    """What a lower precision, or pruning, costs: ``value`` of ``samples`` answers are right, in 0..1.

    ``measured`` says what right is: "top-1 of labels", and then ``source`` is what the source itself reaches; or
    "top-1 agreement" or "agreement in the largest element", with the source, whose own is 1. ``classes`` is how many
    different ones the source names.
    """

    measured: str
    samples: int
    classes: int
    source: float
    value: float
    limit: float

    @property
    def drop(self) -> float:
        """How much is lost, in 0..1; below 0 where there are more right answers than the source has."""
        return self.source - self.value


@dataclass(frozen=True)
class Optimization:
    """What was done to the exported model: ``done`` in words, step by step.

    ``kept`` are the nodes that stayed precise; ``sparsity`` is the share of weights that pruning made zero, in 0..1.
    """

    precision: str = "fp32"
    done: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    sparsity: float | None = None
    accuracy: Accuracy | None = None


@dataclass(frozen=True)
class Verification:
    """What verification found. ``passed`` is None where it was not run.

    ``max_rel_diff`` is the largest difference over the largest magnitude of the same sample's output; ``cases``
    counts the pairs of an input and a batch size that were compared; ``batch_invariant`` says whether samples asked
    one by one are answered as in a batch, ``mixing`` which outputs are not; ``top1`` and ``top5`` are agreement rates
    in 0..1 of classifiers. ``live`` is None where no live check was asked for.
    """

    passed: bool | None = None
    max_abs_diff: float | None = None
    max_rel_diff: float | None = None
    cases: int = 0
    batch_invariant: bool | None = None
    mixing: tuple[str, ...] = ()
    tolerance: str = ""
    worst: Worst | None = None
    top1: float | None = None
    top5: float | None = None
    notes: tuple[str, ...] = ()
    live: Live | None = None
