"""Which types the inputs of a model are served with: FP64 where FP32 changes the source's answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Signature, TensorSpec
from modelrepo.generator.verification import datasets, digits
from modelrepo.generator.verification.digits import SHARE, Loss
from modelrepo.generator.verification.inputs import Pool

SAMPLES, GENERATED = "samples", "generated rows with decimals"


@dataclass(frozen=True)
class Chosen:
    """A source with the inputs that it is served with."""

    source: SourceModel
    asked: tuple[Pool, ...] = ()  # rows that are compared as well, since rounding changes their answers
    said: str = ""  # what rounding does to the user's samples, in words; empty: nothing
    instead: "Chosen | None" = None  # for a source that can't be converted, or whose conversion differs

    def instead_of(self, reason: str) -> "Chosen | None":
        """Return what is served instead of this source, with a note of the ``reason``; None if there is nothing."""
        if self.instead is None:
            return None
        source = self.instead.source
        *notes, last = source.notes  # the last one says what rounding costs
        return replace(self.instead, source=replace(source, notes=(*notes, f"{last}; in FP64, {reason}")))


def chosen(source: SourceModel, options: Options) -> Chosen:
    """Return a source with float64 inputs if its answers to users' numbers need them, else the source itself.

    They are the user's samples, and generated decimals. Types that the user gives with ``--input-shape`` stay, and a
    note says what they cost.
    """
    wider = source.wider
    if wider is None:
        return Chosen(source)
    narrow = [one for one, other in zip(source.inputs, wider.inputs, strict=True) if one.dtype != other.dtype]
    types = " and ".join(sorted({spec.dtype.replace("float", "FP") for spec in narrow}))
    losses = list(_losses(source, wider, options))
    of_samples = next((each for each in losses if each.of == SAMPLES), None)
    found = next((each for each in losses if each.count > (0 if each.of == SAMPLES else SHARE * each.asked)), None)
    said = "" if of_samples is None else f"unrounded, {of_samples}"
    if found is None:
        return Chosen(source, said=said)
    lost = f"in {types} inputs lose digits: {found}"
    if any(each.dtype for each in options.input_shape):
        wide = [spec for spec in wider.inputs if spec not in source.inputs]
        return Chosen(_noted(source, f"{lost}; {_option(wide)} keeps them"), said=said)
    return Chosen(
        _noted(wider, f"its inputs are FP64, because {lost}; {_option(narrow)} serves {types} all the same"),
        (found.kept,),
        instead=Chosen(_noted(source, lost), said=said),
    )


def _losses(source: SourceModel, wider: SourceModel, options: Options) -> Iterator[Loss]:
    """Yield what rounding changes in the answers to the user's samples, and to generated rows."""
    pools = [(pool, SAMPLES) for pool in _samples(wider, options)]
    for pool, of in (*pools, (digits.decimals(wider.inputs, options.seed), GENERATED)):
        loss = digits.loss(wider.run, pool, source.inputs, options.tolerance, of)
        if loss:
            yield loss


def _samples(wider: SourceModel, options: Options) -> tuple[Pool, ...]:
    """Return the user's samples with all their digits; none if they can't be read, which is reported later."""
    try:
        data = datasets.samples(options.samples, Signature(wider.inputs, ()), wider.preprocess)
    except OptionError:
        return ()
    return tuple(map(digits.spaced, data.pools))


def _option(inputs: Sequence[TensorSpec]) -> str:
    """Return the option that gives inputs their types."""
    shapes = ",".join(
        f"{spec.name}={'x'.join('1' if isinstance(dim, str) else str(dim) for dim in spec.shape)}:{spec.dtype}"
        for spec in inputs
    )
    return f"--input-shape '{shapes}'"


def _noted(source: SourceModel, note: str) -> SourceModel:
    return replace(source, notes=(*source.notes, note))
