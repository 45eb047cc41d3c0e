"""Pictures as clients have them: the graph that prepares them before a model, and how near it is to the source's own.

ONNX Runtime's resize is Pillow's, but for weights in single precision: where a value lies between two whole numbers, it
may be rounded to the other one, in each of the two passes.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from modelrepo.generator.errors import (
    ConversionError,
    InputRefused,
    OptionError,
    VerificationError,
    first_line,
    refused,
)
from modelrepo.generator.preparation.picture_graph import graph
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.preparation import UNPREPARED, WRAPPED, Fragment, Preparation, Resize, Wrapped
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Array, Arrays, Dim, Domain, TensorSpec
from modelrepo.generator.verification.photographs import natural_looking

FLAG, KIND, INPUT, TENSORRT = "--with-preprocessing", "pixels", "image", "tensorrt"
WAYS = "Leave it out, and let clients prepare their pictures"
# Two values that differ by less than this share of a step of uint8 are the same: floats are rounded.
SAME = 0.01
# How many steps of uint8 each of the two passes of a resize may round otherwise.
MOST_STEPS = 2
# The heights and widths that verification asks in turn: a photograph's, an odd one, and the least.
HEIGHTS, WIDTHS = (240, 61, 1), (320, 83, 1)
# The pictures that the graph is measured on, by their height and width.
MEASURED = ((375, 500), (500, 375), (480, 640), (333, 97), (64, 64), (1, 1))


@dataclass(frozen=True)
class Distance:
    """How far prepared pictures are from those of the source's own transform."""

    steps: float  # of uint8, the largest
    share: float  # of the values that differ

    @property
    def said(self) -> str:
        """The distance in words."""
        if self.steps < SAME:
            return "as the source's own transform does"
        unit = "step" if round(self.steps) == 1 else "steps"
        return (
            f"at most {self.steps:.0f} {unit} of 255 from the source's own transform ({self.share:.2%} of the values)"
        )


def pictured(source: SourceModel, options: Options) -> SourceModel:
    """Return a source that takes pictures of any size, UINT8 (batch, height, width, 3), RGB, and prepares them.

    Its ``run`` asks the source with what the graph makes of pictures, so that a difference of the resize does not hide
    a wrong model; each picture must be within MOST_STEPS of what the source's own transform makes of it. Raises
    OptionError for a source without a transform that a graph can do, VerificationError for a graph that does otherwise.
    """
    preparation = _preparation(source, options)
    inner = next(spec for spec in source.inputs if spec.name == preparation.input)
    pixels = _pixels(source, inner, preparation)
    fragment = Fragment(graph(preparation.steps, pixels, inner), (pixels,), (inner,), {inner.name: inner.name})
    around = _Around(source, preparation, pixels.name, fragment)
    notes = (around.told(options.seed),) if options.verify else ()
    return replace(
        source,
        framework=WRAPPED,
        native=Wrapped(source, before=fragment),
        inputs=(pixels, *(spec for spec in source.inputs if spec is not inner)),
        run=around.run,
        preprocess={"kind": KIND},
        input_kinds={**source.input_kinds, pixels.name: KIND},
        preparation=None,
        fixed=(),
        wider=None,
        notes=(*(note for note in source.notes if not note.startswith(UNPREPARED)), *notes),
    )


def _preparation(source: SourceModel, options: Options) -> Preparation:
    found = source.preparation
    if found is None or found.kind != "image":
        raise OptionError(
            f"{FLAG} has no effect on {source.reference}: it does not say how a picture becomes its input", WAYS
        )
    if found.reason:
        raise OptionError(f"{FLAG}: no graph can prepare pictures for {source.reference}: {found.reason}", WAYS)
    if any(choice.backend == TENSORRT for choice in options.backends):
        raise OptionError(
            f"{FLAG} can't be used with {TENSORRT}: its parser has no resize that counts all pixels it covers",
            f"Choose another backend, or leave {FLAG} out",
        )
    return found


def _pixels(source: SourceModel, inner: TensorSpec, preparation: Preparation) -> TensorSpec:
    """Return the input that takes pictures: of any size, or of the model's own if they are not resized."""
    taken = {dim for spec in source.inputs for dim in spec.shape} | {spec.name for spec in source.inputs}
    name = INPUT if INPUT not in taken - {inner.name} else f"{INPUT}_pixels"
    resized = any(isinstance(step, Resize) for step in preparation.steps)
    sides: tuple[Dim, ...] = inner.shape[-2:]
    sizes: Mapping[str, tuple[int, ...]] = inner.sizes
    if resized:
        sides = tuple(each if each not in taken else f"picture_{each}" for each in ("height", "width"))
        sizes = dict(zip(map(str, sides), (HEIGHTS, WIDTHS), strict=True))
    return TensorSpec(name, "uint8", (inner.shape[0], *sides, 3), Domain(0, 255), sizes)


class _Around:
    """A source with the graph before it: both ways from pictures to the source's input."""

    def __init__(self, source: SourceModel, preparation: Preparation, name: str, fragment: Fragment) -> None:
        self._source, self._preparation, self._name = source, preparation, name
        self._made = fragment.outputs[0].name
        self._compared: set[bytes] = set()  # digests of the pictures whose preparation was compared already
        self._graph = prepared_by(fragment.model, name)

    def run(self, arrays: Arrays) -> dict[str, Any]:
        """Return the source's answers to pictures as the graph prepares them.

        Raises VerificationError if those are not what the source's own transform makes of them.
        """
        pictures = arrays[self._name]
        if not pictures.size:
            raise refused(arrays, "a picture without pixels")
        made = self._graph(pictures)
        self._compare(pictures, made)
        left = {name: array for name, array in arrays.items() if name != self._name}
        return self._source.run({**left, self._made: made})

    def _compare(self, pictures: Array, made: Array) -> None:
        """Raise VerificationError if pictures are not prepared as the source's own transform does; each is asked once.

        The same picture is asked in batches of several sizes.
        """
        for picture, prepared in zip(pictures, made, strict=True):
            height, width = picture.shape[:2]
            digest = hashlib.sha256(f"{height}x{width}".encode() + picture.tobytes()).digest()
            if digest in self._compared:
                continue
            found = self._distance(picture[np.newaxis], prepared[np.newaxis])
            if found.steps > MOST_STEPS + SAME:
                raise VerificationError(
                    f"the graph prepares a picture of {height}x{width} otherwise than {self._source.reference} itself: "
                    f"by up to {found.steps:.0f} of 255",
                    WAYS,
                )
            self._compared.add(digest)

    def measured(self, seed: int) -> Distance:
        """Return how far the graph is from the source's own transform on pictures like photographs."""
        found = [self._distance(each, self._graph(each)) for each in photographs(MEASURED, seed)]
        return Distance(max(each.steps for each in found), float(np.mean([each.share for each in found])))

    def told(self, seed: int) -> str:
        """Return what is said of pictures like photographs: how far the graph is, and which classes are the best."""
        said = f"pictures are prepared in the graph, {self.measured(seed).said}"
        bests = [self._bests(each) for each in photographs(MEASURED, seed)] if self._ranks() else []
        if not bests:
            return said
        apart = [margin for margin in bests if margin is not None]
        equal = f"the best class is that of the source's own pipeline for {len(bests) - len(apart)} of {len(bests)}"
        close = f"; in the others the two best are {max(apart):.1e} of the scores' range apart" if apart else ""
        return f"{said}; {equal} pictures like photographs{close}"

    def _ranks(self) -> bool:
        """Whether the source is a classifier that takes pictures in batches, and nothing else."""
        return bool(self._source.labels) and len(self._source.inputs) == 1 and self._source.framework != WRAPPED

    def _bests(self, pictures: Array) -> float | None:
        """Return None if both ways to prepare a picture lead to the same best class.

        Otherwise how far the source's own pipeline has the two apart, as a share of its scores' range.
        """
        own = np.stack([self._preparation.own(picture) for picture in pictures]).astype(np.float32)
        scores, others = (
            np.ravel(next(iter(self._source.run({self._made: each}).values()))) for each in (own, self._graph(pictures))
        )
        best, other = int(np.argmax(scores)), int(np.argmax(others))
        return None if best == other else float((scores[best] - scores[other]) / np.ptp(scores))

    def _distance(self, pictures: Array, made: Array) -> Distance:
        try:
            own = np.stack([self._preparation.own(picture) for picture in pictures])
        except Exception as error:  # any error of the framework's transform, as for a side that would have no pixels
            raise refused({self._name: pictures}, f"its own transform fails: {first_line(error)}") from error
        if own.shape != made.shape:
            raise VerificationError(
                f"the graph makes {list(made.shape)} of a picture, and the source itself {list(own.shape)}"
            )
        apart = np.abs(own.astype(np.float64) - made) / self._preparation.step
        return Distance(float(apart.max()), float((apart > SAME).mean()))


def photographs(sizes: Sequence[tuple[int, int]], seed: int) -> Iterator[Array]:
    """Yield a random picture like a photograph for each height and width: uint8 (1, height, width, 3)."""
    for number, (height, width) in enumerate(sizes):
        planes = natural_looking(np.random.default_rng([seed, number]), height, width)
        yield np.round(planes.transpose(1, 2, 0)[np.newaxis] * 255).astype(np.uint8)


def prepared_by(model: Any, name: str) -> Callable[[Array], Array]:
    """Return the function from pictures to what a graph with the input ``name`` makes of them."""
    return partial(_answer, _session(model), name)


def _session(model: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its errors are raised as well
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common class
        raise ConversionError(f"ONNX Runtime can't open the graph that prepares pictures: {error}") from error


def _answer(session: Any, name: str, pictures: Array) -> Array:
    try:
        answer: Array = session.run(None, {name: pictures})[0]
    except Exception as error:  # ONNX Runtime's errors have no common class
        raise InputRefused(f"the graph can't prepare pictures of {list(pictures.shape)}: {error}") from error
    return answer
