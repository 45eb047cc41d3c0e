"""The findings of verification, accuracy measurement and the live check."""

from dataclasses import dataclass
from typing import Literal

# The first word of what is measured of embeddings.
COSINE = "cosine"


@dataclass(frozen=True)
class Worst:
    """The place where converted model and source are furthest apart, relative to the tolerance."""

    output: str
    family: str  # of the input
    batch: int
    index: tuple[int, ...]
    difference: float
    limit: float

    @property
    def share_of_limit(self) -> float:
        """The difference as a share of the limit."""
        return self.difference / self.limit if self.limit else 0.0


@dataclass(frozen=True)
class Live:
    """The result of the live check in a real Triton."""

    status: Literal["passed", "skipped"]
    detail: str  # the server, or the reason why the check was skipped
    cases: int = 0  # as in Verification, over all protocols
    max_rel_diff: float | None = None  # as in Verification, over all protocols
    largest_merged_batch: int | None = None  # formed by the dynamic batcher from single requests; None: not tested
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of a converted model, beside its source's."""

    # "top-1 of labels", "top-1 agreement", "agreement in the largest element", or COSINE and an output
    measured: str
    samples: int
    classes: int  # how many different classes the source predicts for them
    source: float  # the source's own accuracy, 0..1; agreement with itself is 1
    value: float  # 0..1
    limit: float  # the largest drop that is allowed, 0..1; 1 if the numbers are compared, which limits it enough

    @property
    def drop(self) -> float:
        """The accuracy that is lost, in 0..1; negative if the model is better than its source."""
        return self.source - self.value

    @property
    def is_cosine(self) -> bool:
        """Whether ``value`` is the cosine between the embeddings of both models, of the worst sample."""
        return self.measured.startswith(COSINE)

    def __str__(self) -> str:
        """In words, without the source's own."""
        if self.is_cosine:
            return f"{self.measured} {self.value:.3f} in the worst of {self.samples} texts"
        return f"{self.measured} {self.value:.1%} of {self.samples}"


@dataclass(frozen=True)
class Optimization:
    """The changes that optimization made to the exported model."""

    precision: str = "fp32"
    done: tuple[str, ...] = ()  # in words, step by step
    kept: tuple[str, ...] = ()  # nodes that stayed in FP32
    sparsity: float | None = None  # share of weights that pruning made zero, 0..1
    accuracy: Accuracy | None = None


@dataclass(frozen=True)
class Coverage:
    """The behaviours of the served graph, and of the source's own code, that the compared inputs reached."""

    behaviours: int
    covered: int
    missing: tuple[str, ...] = ()  # the behaviours that were not reached, in words; the first ones
    probes: int = 0  # inputs that the search made, and the source answered
    refused: int = 0  # inputs that the search made, and the source refused or did not answer with numbers
    reasons: tuple[str, ...] = ()  # why some behaviours can't be seen

    def __str__(self) -> str:
        """In words; empty for a graph that does the same with every number."""
        return f"covered {self.covered} of {self.behaviours} behaviours" if self.behaviours else ""


@dataclass(frozen=True)
class Verification:
    """The result of comparing a converted model with its source."""

    passed: bool | None = None  # None: verification was not run
    max_abs_diff: float | None = None
    max_rel_diff: float | None = None  # the largest difference / the largest magnitude of the same sample's output
    cases: int = 0  # compared pairs of an input and a batch size
    batch_invariant: bool | None = None  # samples get the same answers alone and in a batch
    mixing: tuple[str, ...] = ()  # the outputs that are not batch invariant
    tolerance: str = ""
    worst: Worst | None = None
    top1: float | None = None  # agreement of classifiers, 0..1
    top5: float | None = None  # agreement of classifiers, 0..1
    notes: tuple[str, ...] = ()
    live: Live | None = None  # None: no live check was requested
    coverage: Coverage | None = None  # None: not measured
    accuracy: Accuracy | None = None  # of labelled samples; None: not measured here
    samples: str = ""  # what was done with the user's samples, in words; empty: there are none
