"""Parity with the source, and batch invariance: the numbers that a published model stands on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from generator.errors import OptionError, VerificationError
from generator.specs import Array, Arrays, Domain, Signature, TensorSpec, Tolerance, Verification, Worst

Run = Callable[[Arrays], Mapping[str, Array]]

# Allowed difference by precision. FP32: torch and ONNX Runtime differ by 2e-7 to 4e-6 of the answers' magnitude on
# torchvision's 80 classifiers with random weights (docs/reference/verification.md); 1e-3 leaves room for deep models
# on inputs ten times as large as usual, and is far below what a wrong operator does.
TOLERANCES = {"fp32": Tolerance(relative=1e-3)}
# Differences below this share of an output's largest magnitude over all inputs are float32 rounding.
NOISE = 1e-6
ODD_BATCH = 3


@dataclass(frozen=True)
class Pool:
    """Inputs to choose batches from: named arrays that share their leading axis, and the family of each row."""

    arrays: Arrays
    families: tuple[str, ...]

    def rows(self, indices: Sequence[int]) -> Arrays:
        """Return one batch made of these rows, in this order."""
        return {name: np.ascontiguousarray(array[list(indices)]) for name, array in self.arrays.items()}


FAMILIES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "random 1": lambda random, shape: random.standard_normal(shape),
    "random 2": lambda random, shape: random.standard_normal(shape),
    "random 3": lambda random, shape: random.standard_normal(shape),
    "zeros": lambda random, shape: np.zeros(shape),
    "ones": lambda random, shape: np.ones(shape),
    "small (x0.1)": lambda random, shape: 0.1 * random.standard_normal(shape),
    "large (x10)": lambda random, shape: 10.0 * random.standard_normal(shape),
}


def make_pool(inputs: Sequence[TensorSpec], size: int, seed: int) -> Pool:
    """Return at least one row of each input family, filled up to ``size`` rows with further random ones."""
    names = [*FAMILIES, *(f"random {number}" for number in range(4, 4 + max(0, size - len(FAMILIES))))]
    arrays = {}
    for position, spec in enumerate(inputs):
        sizes = tuple(dim for dim in spec.shape[1:] if isinstance(dim, int))
        if len(sizes) != len(spec.shape) - 1:
            raise VerificationError(f"input {spec} has more than one dynamic dimension", "Fix it with --input-shape")
        random = np.random.default_rng([seed, position])
        arrays[spec.name] = np.empty((len(names), *sizes), spec.dtype)
        for row, name in enumerate(names):
            arrays[spec.name][row] = _into_domain(FAMILIES.get(name, FAMILIES["random 1"])(random, sizes), spec)
    return Pool(arrays, tuple(names))


def _into_domain(values: Array, spec: TensorSpec) -> Array:
    dtype = np.dtype(spec.dtype)
    domain = spec.domain
    if dtype == np.bool_:
        return values > 0
    if np.issubdtype(dtype, np.integer):
        domain = Domain(0 if domain.low is None else domain.low, 1 if domain.high is None else domain.high)
        values = np.round(values * max(1.0, (domain.high or 1) / 3))
    return np.clip(values, domain.low, domain.high).astype(dtype)


def batch_sizes(max_batch_size: int) -> tuple[int, ...]:
    """Return the batch sizes to compare at: 1, 2, an odd one and the largest."""
    return tuple(sorted({size for size in (1, 2, ODD_BATCH, max_batch_size) if 1 <= size <= max(1, max_batch_size)}))


def load_samples(path: Path, inputs: Sequence[TensorSpec]) -> Pool:
    """Read the user's samples: a .npz of arrays named like the inputs, a .npy for a single input, or a folder of them.

    Every array has a leading batch axis, or the shape of one sample. Raises OptionError for one that does not fit.
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in files if file.suffix in (".npy", ".npz")]
    if not files:
        raise OptionError(f"{path} holds no .npz or .npy samples")
    parts = [_fitting(_read_arrays(file, inputs), inputs, file) for file in files]
    arrays = {spec.name: np.concatenate([part[spec.name] for part in parts]) for spec in inputs}
    families = tuple(f"sample {file.name}" for file, part in zip(files, parts, strict=True) for _ in _first(part))
    return Pool(arrays, families)


def _first(arrays: Arrays) -> Array:
    return next(iter(arrays.values()))


def _read_arrays(file: Path, inputs: Sequence[TensorSpec]) -> Arrays:
    try:
        with file.open("rb") as opened:
            loaded = np.load(opened, allow_pickle=False)
            arrays = {inputs[0].name: loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except Exception as error:  # numpy, zipfile and zlib each have errors of their own for broken files
        raise OptionError(f"can't read samples from {file}: it is no .npy or .npz file of numbers") from error
    missing = [spec.name for spec in inputs if spec.name not in arrays]
    if missing:
        raise OptionError(f"{file} lacks the input {missing[0]!r}", f"It holds {', '.join(arrays) or 'nothing'}")
    return arrays


def _fitting(arrays: Arrays, inputs: Sequence[TensorSpec], file: Path) -> dict[str, Array]:
    fitted = {}
    for spec in inputs:
        array = arrays[spec.name]
        if array.shape == spec.shape[1:]:
            array = array[np.newaxis]
        if array.shape[1:] != spec.shape[1:] or not np.can_cast(array.dtype, spec.dtype, "same_kind"):
            raise OptionError(f"{file}: {spec.name} is {array.dtype}{list(array.shape)}, the model takes {spec}")
        if _is_float(array) and np.isnan(array).any():
            raise OptionError(f"{file}: {spec.name} holds NaN")
        fitted[spec.name] = array.astype(spec.dtype)
    if len({len(array) for array in fitted.values()}) != 1 or not len(_first(fitted)):
        raise OptionError(f"{file}: the inputs do not have the same number of samples, at least one")
    return fitted


def verify(
    source: Run,
    candidate: Run,
    signature: Signature,
    *,
    max_batch_size: int,
    seed: int,
    samples: Pool | None = None,
    tolerance: Tolerance | None = None,
    precision: str = "fp32",
) -> Verification:
    """Compare ``candidate`` with ``source`` on every input family at every batch size, and on the user's samples.

    Where the source answers samples one by one as it answers them in a batch, ``batch_invariant`` is True; otherwise
    ``mixing`` names the outputs, and comparison goes on batch by batch. It is None where there are no batches. Raises
    VerificationError, which names input, output and distance, where an answer lies outside the tolerance or is NaN.
    """
    allowed = tolerance or TOLERANCES[precision]
    comparison = _Comparison(allowed, TOLERANCES[precision])
    if signature.batch_dim is None:
        _compare_whole(source, candidate, signature, seed, comparison)
        return comparison.verification()
    sizes = batch_sizes(max_batch_size or ODD_BATCH)
    mixing: set[str] = set()
    for pool in (make_pool(signature.inputs, sizes[-1], seed), *([samples] if samples else [])):
        reference = _Reference(source, pool, sizes[-1])
        comparison.learn(reference.batched)
        mixing |= reference.differing_alone(comparison)
        for batch, rows in _batches(pool, sizes):
            wanted = source(pool.rows(rows)) if mixing else reference.rows(rows)
            comparison.add(wanted, candidate(pool.rows(rows)), pool, rows, batch)
    invariant = not mixing if sizes[-1] > 1 else None
    return replace(comparison.verification(), batch_invariant=invariant, mixing=tuple(sorted(mixing)))


def _compare_whole(source: Run, candidate: Run, signature: Signature, seed: int, comparison: "_Comparison") -> None:
    """Compare a model without a common batch dimension: every input as a whole, symbolic dimensions at 1, 2 and 3."""
    symbolic = any(isinstance(dim, str) for spec in signature.inputs for dim in spec.shape)
    for size in batch_sizes(ODD_BATCH) if symbolic else (1,):
        sizes = {dim: size for spec in signature.inputs for dim in spec.shape if isinstance(dim, str)}
        whole = [replace(spec, shape=("row", *spec.sized(sizes))) for spec in signature.inputs]
        pool = make_pool(whole, 1, seed)
        for row in range(len(pool.families)):
            inputs = {name: array[row] for name, array in pool.arrays.items()}
            wanted = {name: answer[np.newaxis] for name, answer in source(inputs).items()}
            got = {name: answer[np.newaxis] for name, answer in candidate(inputs).items()}
            _refuse_useless(wanted, pool, [row])
            comparison.learn(wanted)
            comparison.add(wanted, got, pool, [row], size)


def _batches(pool: Pool, sizes: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Yield batches that show every family at every size; a last batch that is short is filled from the start."""
    count = len(pool.families)
    for size in sizes:
        shown = count if size == sizes[-1] else min(count, len(FAMILIES))
        for start in range(0, shown, size):
            yield size, [row % count for row in range(start, start + size)]


class _Reference:
    """The source's answers: for the whole pool, in batches of the largest size."""

    def __init__(self, source: Run, pool: Pool, size: int) -> None:
        self.source, self.pool = source, pool
        count = len(pool.families)
        parts = []
        for start in range(0, count, size):
            rows = [row % count for row in range(start, start + size)]
            answers = source(pool.rows(rows))
            _refuse_useless(answers, pool, rows)
            parts.append({name: answer[: count - start] for name, answer in answers.items()})
        self.batched = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def rows(self, rows: Sequence[int]) -> Arrays:
        return {name: answer[list(rows)] for name, answer in self.batched.items()}

    def differing_alone(self, comparison: "_Comparison") -> set[str]:
        """Return the outputs that differ when the first samples are asked one by one."""
        differing = set()
        for row in range(min(len(self.pool.families), len(FAMILIES))):
            for name, alone in self.source(self.pool.rows([row])).items():
                together = self.batched[name][[row]]
                if alone.shape != together.shape or not comparison.same(name, together, alone):
                    differing.add(name)
        return differing


def _refuse_useless(answers: Arrays, pool: Pool, rows: Sequence[int]) -> None:
    """Refuse a source whose answers no comparison could tell anything about."""
    for name, answer in answers.items():
        if not answer.size:
            raise VerificationError(f"the source model's output {name!r} is empty")
        if not _is_float(answer):
            continue
        samples = answer.reshape(len(answer), -1)
        for useless, what in (
            (np.isnan(samples).any(axis=1), "NaN"),
            (np.isinf(samples).all(axis=1), "only infinities"),
        ):
            if useless.any():
                family = pool.families[rows[int(useless.argmax())]]
                raise VerificationError(
                    f"the source model itself answers {what} in output {name!r} on input {family!r}",
                    "Check its weights: such a model is not published",
                )


class _Comparison:
    """Collects the differences of a run and remembers the worst."""

    def __init__(self, allowed: Tolerance, own: Tolerance) -> None:
        self.allowed, self.own = allowed, own
        self.scale: dict[str, float] = {}
        self.first: dict[str, Array] = {}
        self.varying: set[str] = set()
        self.compared: set[tuple[str, int, int]] = set()
        self.max_abs = self.max_rel = 0.0
        self.worst: Worst | None = None
        self.hits: dict[int, list[bool]] = {1: [], 5: []}

    def learn(self, answers: Arrays) -> None:
        """Take note of the largest magnitude that each output reaches, and of whether it ever changes."""
        for name, answer in answers.items():
            self.scale[name] = max(self.scale.get(name, 0.0), _magnitude(answer))
            first = self.first.setdefault(name, answer[0])
            if any(_distance(first, other)[0] for other in answer):
                self.varying.add(name)

    def same(self, name: str, together: Array, alone: Array) -> bool:
        """Tell whether samples are answered alike alone and in a batch: the user's tolerance is no matter here."""
        pairs = zip(together, alone, strict=True)
        return all(_distance(one, other)[0] <= self.limit(name, one, self.own) for one, other in pairs)

    def limit(self, name: str, wanted: Array, tolerance: Tolerance) -> float:
        """Return the largest difference that a tolerance allows for one sample of an output."""
        if not _is_float(wanted):
            return 0.0
        return tolerance.absolute + tolerance.relative * _magnitude(wanted) + NOISE * self.scale[name]

    def add(self, wanted: Arrays, got: Arrays, pool: Pool, rows: Sequence[int], batch: int) -> None:
        """Compare one batch sample by sample; raises VerificationError at the first that is too far off."""
        for name, answers in wanted.items():
            if name not in got:
                raise VerificationError(f"the converted model lacks the output {name!r}")
            if got[name].shape != answers.shape:
                raise VerificationError(
                    f"output {name!r} has shape {list(got[name].shape)} where the source gives {list(answers.shape)}, "
                    f"at batch {batch}"
                )
            for row, one, other in zip(rows, answers, got[name], strict=True):
                self._add_sample(name, pool.families[row], batch, one, other)
        self.compared |= {(pool.families[row], row, batch) for row in rows}

    def _add_sample(self, name: str, family: str, batch: int, wanted: Array, got: Array) -> None:
        difference, index = _distance(wanted, got)
        limit = self.limit(name, wanted, self.allowed)
        found = Worst(name, family, batch, index, difference, limit)
        if not difference <= limit:
            raise VerificationError(
                f"output {name!r} differs by {difference:.3g} where {limit:.3g} is allowed, on input {family!r} at "
                f"batch {batch}, index {list(index)}",
                "The conversion changed the model's answers; a looser limit is set with --tolerance",
            )
        magnitude = _magnitude(wanted)
        self.max_abs = max(self.max_abs, difference)
        self.max_rel = max(self.max_rel, difference / magnitude if magnitude else 0.0)
        if self.worst is None or _strain(found) > _strain(self.worst):
            self.worst = found
        if wanted.ndim == 1 and wanted.size > 1 and _is_float(wanted):
            self._add_ranking(wanted, got)

    def _add_ranking(self, wanted: Array, got: Array) -> None:
        for k, hits in self.hits.items():
            if wanted.size > k:
                hits.append(set(np.argsort(wanted)[-k:]) == set(np.argsort(got)[-k:]))

    def verification(self) -> Verification:
        """Return what was found; every answer was within the tolerance."""
        agreement = {k: float(np.mean(hits)) if hits else None for k, hits in self.hits.items()}
        return Verification(
            passed=True,
            max_abs_diff=self.max_abs,
            max_rel_diff=self.max_rel,
            cases=len(self.compared),
            tolerance=str(self.allowed),
            worst=self.worst,
            top1=agreement[1],
            top5=agreement[5],
            notes=tuple(
                f"output {name!r} is always the same, so comparing it proves nothing"
                for name in self.scale
                if name not in self.varying
            ),
        )


def _strain(worst: Worst) -> float:
    return worst.difference / worst.limit if worst.limit else 0.0


def _magnitude(answer: Array) -> float:
    finite = answer[np.isfinite(answer)] if _is_float(answer) else answer
    return float(np.abs(finite.astype(np.float64)).max()) if finite.size and finite.dtype.kind in "fiub" else 0.0


def _distance(wanted: Array, got: Array) -> tuple[float, tuple[int, ...]]:
    """Return the largest difference between two samples and its place; NaN or unequal infinities are infinitely far."""
    if not _is_float(wanted):
        different = np.asarray(wanted != got)
        return float(different.any()), _place(different)
    with np.errstate(invalid="ignore"):
        gaps = np.abs(wanted.astype(np.float64) - got.astype(np.float64))
    gaps = np.where(wanted == got, 0.0, gaps)
    gaps = np.where(np.isfinite(gaps), gaps, np.inf)
    return float(gaps.max(initial=0.0)), _place(gaps)


def _place(gaps: Array) -> tuple[int, ...]:
    return tuple(map(int, np.unravel_index(int(gaps.argmax()), gaps.shape))) if gaps.size else ()


def _is_float(array: Array) -> bool:
    return bool(np.issubdtype(array.dtype, np.floating))


def onnx_runner(path: Path) -> Run:
    """Open an ONNX model in ONNX Runtime on the CPU and return a function that runs it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(arrays: Arrays) -> dict[str, Array]:
        return dict(zip(names, session.run(names, dict(arrays)), strict=True))

    return run
