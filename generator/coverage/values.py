"""Values that an input is tried with: by its type, its domain, and what the graph does with it."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from modelrepo.generator.coverage.flows import Flow
from modelrepo.generator.specs.tensors import Array, Domain, TensorSpec

FLOATS = (
    *(-0.5, 0.5, -1.0, 1.0, -1.5, 1.5, -2.5, 2.5, -19.0, 19.0, -100.0, 100.0, 1e4, -1e4, 0.25, -3.0, 3.0, 7.0),
    *(-0.0, 1e-40, -1e-40, 1e-6, -1e-3, 50.0, -50.0, 1e3, -1e3, 12345.678),
)
# 0 to 2 are asked in any case; the large ones have digits in every byte.
WHOLE = (
    *(-1, -2, -3, 3, -5, 5, 7, -7, 4, -4, 8, 10, -10, 100, -100, 127, -128, 255, 1000, -1000, 32767, -32768, 65536),
    *(12345678, -12345678, 2147483647, -2147483647, 0, 1, 2, 6, -6, 1234567890123, -1234567890123),
)
# An index into up to so many places is tried with each.
EVERY = 64
# Standard deviations from the center of a fitted range.
BEYOND = 100.0
# Products of larger numbers are beyond FP16, where an infinity comes earlier in one formula than in another.
HALF = 255.0
SIZES = (0, 1, 2, 3, 5, 8)
SCALES = (1.0, 2.0, 0.5, 1.5, 3.0, 0.0)  # floats that sizes are multiplied by
TEXTS = (
    "",
    " ",
    "a",
    "B",
    "I've seen it, don't you?",
    "na\u00efve caf\u00e9 cr\u00e8me br\u00fbl\u00e9e",
    "\u00dcN\u00cfCODE Stra\u00dfe \u0130stanbul \u01c5",
    "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8 \u4f60\u597d",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440 \u03b1\u03b2\u03b3",
    "\u0645\u0631\u062d\u0628\u0627 \u0928\u092e\u0938\u094d\u0924\u0947",
    "\U0001f642 ok \U0001f44d",
    "x_1 2.50 3,000 a-b_c d/e e@f.g #h",
    "UPPER lower Mixed",
    "a b c d",
    "\t tab\nline  two  ",
    "0",
    "-1",
    "1.5",
    "nan",
    "None",
    "word " * 400,
    "x" * 3000,
)


def values_of(spec: TensorSpec, flow: Flow, *, cautious: bool = False) -> list[Any]:
    """Return the values that elements of an input are tried with, the most telling first.

    Values outside of a domain that is known are left out. An input that decides sizes gets small values only, and one
    that whole numbers are divided by is never 0 or -1: ONNX Runtime may end the process for it. Nothing is returned
    for masks, and with ``cautious``, if ONNX Runtime is the source as well, for inputs that a divisor is computed from.
    """
    domain, dtype = spec.domain, np.dtype(spec.dtype)
    if domain.mask:
        return []
    if dtype == np.bool_:
        return [True, False]
    if dtype == np.object_:
        chosen = [str(each) for each in (*domain.choices, *sorted(map(str, flow.keys)), *domain.others)]
        return list(dict.fromkeys([*chosen, *(() if domain.choices and domain.known else TEXTS)]))
    keys = sorted(each for each in flow.keys if not isinstance(each, str))
    near: list[Any] = [*_near(flow.compared), *domain.choices, *keys, *domain.others]
    if dtype.kind == "f":
        if flow.size:
            return _within(SCALES, domain, dtype)
        bounds = [each for each in (domain.low, domain.high) if each is not None]
        usual = [each for each in FLOATS if abs(each) <= _reach(domain)]
        found = [*near, *bounds, *usual, *_near(flow.constants)]
        special = [*([np.nan] if domain.missing or flow.missing else []), *([np.inf, -np.inf] if flow.infinite else [])]
        found = [*special, *found]
        return _within(found, domain, dtype)
    if flow.divides_computed and cautious:
        return []
    if flow.size:
        return _within(SIZES, domain, dtype)
    every = [place for size in flow.indexed if size <= EVERY for place in range(size)]
    ends = [*every] + [end for size in flow.indexed for end in (size - 1, -size, size, size // 2, -1, -size - 1)]
    whole = [*near, *ends, *(each for each in (domain.low, domain.high) if each is not None), *WHOLE]
    found = [int(each) for each in (*whole, *_near(flow.constants)) if float(each).is_integer()]
    refused = (0, -1) if flow.divides else ()  # -1 as well: the smallest whole number divided by it ends the process
    return _within([each for each in found if each not in refused], domain, dtype)


def _reach(domain: Domain) -> float:
    """Return how far from zero values are tried: far beyond the range that a model was fitted on, if it is known.

    Farther away, single precision decides between neighbours and support vectors.
    """
    if not domain.spread:
        return np.inf
    return max(abs(at) + BEYOND * by for at, by in zip(domain.center, domain.spread, strict=True))


def _near(numbers: Iterable[Any]) -> list[Any]:
    """Return numbers, their negatives, and their neighbours: in float32, and one away."""
    found: list[float] = []
    for number in sorted(numbers, key=abs):
        below, above = (float(np.nextafter(np.float32(number), np.float32(end))) for end in (-np.inf, np.inf))
        found += [number, above, below, number + 1, number - 1, -number]
    return found


def neighbours(number: float, dtype: str) -> list[float]:
    """Return the values of a dtype at a number, just below and just above; of a float64 those of float32 as well."""
    kinds: list[Any] = [np.float32, np.float64] if dtype == "float64" else [np.dtype(dtype).type]
    found: list[Any] = []
    with np.errstate(over="ignore"):
        for kind in kinds:
            if not np.issubdtype(kind, np.floating):
                found += [np.floor(number), np.ceil(number), np.floor(number) - 1, np.ceil(number) + 1]
                continue
            at = kind(number)
            found += [float(at), float(np.nextafter(at, kind(-np.inf))), float(np.nextafter(at, kind(np.inf)))]
    return list(dict.fromkeys(each for each in found if np.isfinite(each)))


def _bounds(domain: Domain, dtype: Any) -> tuple[float | None, float | None]:
    """Return the bounds of what is tried: those of a known domain, and a range of floats on both sides.

    Such a range is that of a Gaussian process's samples: far from them it is undecided, and rounding decides.
    """
    bounded = dtype.kind == "f" and domain.low is not None and domain.high is not None
    return (domain.low, domain.high) if domain.known or bounded else (None, None)


def _within(values: Sequence[Any], domain: Domain, dtype: Any) -> list[Any]:
    """Return the values that a dtype holds, each once; those within the bounds if the domain is known."""
    low, high = -np.inf, np.inf
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        low, high = max(limits.min + (dtype.kind == "i"), -(2**62)), min(limits.max, 2**62)
    elif dtype == np.float16:
        low, high = -HALF, HALF
    bounds = _bounds(domain, dtype)
    low, high = (low if bounds[0] is None else bounds[0]), (high if bounds[1] is None else bounds[1])
    if domain.known:
        values = domain.choices or values
    kept: dict[object, Any] = {}
    for value in values:
        number = float(value)
        if np.isnan(number) or low <= number <= high:
            kept.setdefault(repr(value) if number == 0 or np.isnan(number) else number, value)  # -0.0 is another value
    return list(kept.values())


def as_dtype(values: Array, spec: TensorSpec) -> Array:
    """Return values in an input's dtype, within the bounds of what is tried."""
    dtype = np.dtype(spec.dtype)
    low, high = _bounds(spec.domain, dtype)
    if dtype.kind in "fiu" and (low is not None or high is not None):
        values = np.clip(values, low, high)
    if dtype == np.float16:
        values = np.clip(values, -HALF, HALF)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = np.clip(np.round(values), float(limits.min) / 2, float(limits.max) / 2)
    return values.astype(dtype)
