"""The speed-up of conversion: a published model in its source framework, in ONNX Runtime, and served.

They take turns, round by round, and get the same rows that perf_analyzer sends.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from statistics import fmean, median
from typing import Protocol, TypeAlias

from modelrepo.clients.errors import ClientError
from modelrepo.generator import sources
from modelrepo.generator.errors import ModelRepoError, PerfError
from modelrepo.generator.options.fields import FIELDS
from modelrepo.generator.options.resolve import default_options
from modelrepo.generator.plans.store import PlanStore
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.tensors import Array, Arrays
from modelrepo.perf.frameworks.worker import OnnxRuntime, Opener, Source, Timed, Worker, worker
from modelrepo.perf.results.compare import ratio_of
from modelrepo.perf.results.results import Figures, InProcess

SERVED = "triton (served)"
# The scheme of models that no framework but ONNX Runtime runs.
NO_FRAMEWORK = "onnx"


class Served(Protocol):
    """Measures a served model with one request of ``batch_size`` samples in flight at a time, for one round.

    Returns the figures and the bytes that the server's processes hold, None if they are not on this machine. Raises
    PerfError, ServerError or ClientError if there are no figures.
    """

    def __call__(self, model: str, batch_size: int) -> tuple[Figures, int | None]:
        """Measure once."""


@dataclass(frozen=True)
class Published:
    """A version that is measured: ``name`` is the user's name for it, ``folder`` has its files."""

    name: str
    manifest: Manifest
    folder: Path

    @property
    def batched(self) -> bool:
        """Whether it is served in batches."""
        return self.manifest.max_batch_size > 0

    @property
    def onnx(self) -> Path | None:
        """Its ONNX model, None if a different backend serves it."""
        path = self.folder / "model.onnx"
        return path if path.is_file() else None


@dataclass(frozen=True)
class ServedRound:
    """The figures of a served model in one round."""

    figures: Figures
    memory_bytes: int | None


Found: TypeAlias = Timed | ServedRound
Rows: TypeAlias = Sequence[Mapping[str, Array]]


def measure(
    models: Mapping[str, Rows],
    repository: Path,
    *,
    batch_sizes: Sequence[int],
    seconds: float,
    rounds: int,
    served: Served,
    progress: Progress,
) -> Iterator[InProcess]:
    """Yield rows for each published model, NAME or NAME:VERSION, in each of its ways, at every batch size.

    ``models`` has the samples for each, without a batch dimension.

    In process, a round is ``seconds`` of calls. Figures are the medians over rounds. ``speed_up`` is over the first row
    of the same model and batch size: the source framework, or ONNX Runtime for a model from an ONNX file. If a model
    can't be measured served, that is a warning.

    Raises PerfError for a model that was not published here, and if a process ends. Raises SourceError if the source
    can't be loaded.
    """
    destination = Repository(repository)
    found = {model: _published(model, destination) for model in models}
    for each in found.values():
        _openers(each)  # raises known errors before anything is measured
    for model, each in found.items():
        yield from _measure_model(each, models[model], sorted(set(batch_sizes)), seconds, rounds, served, progress)


def _published(model: str, repository: Repository) -> Published:
    name, _, version = model.partition(":")
    known = repository.manifests(name)
    plan = None if known else PlanStore(repository).intact(name)
    if plan:
        raise PerfError(f"{name} is not built yet: {plan.reason}", f"Build it first: {plan.command}")
    if not known:
        raise PerfError(
            f"{name} was not generated into {repository.root}, so its source is not known",
            "Generate it first, or name another repository with --repository",
        )
    wanted = next((each for each in reversed(known) if version in ("", str(each.version))), None)
    if wanted is None:
        there = ", ".join(str(each.version) for each in known)
        raise PerfError(f"{name} has no version {version}", f"There are {there}")
    if not wanted.is_intact(repository.root / name):
        raise PerfError(f"{name} version {wanted.version} is not as it was published", "Generate it again")
    return Published(model, wanted, repository.root / name / str(wanted.version))


def _openers(published: Published) -> dict[str, Opener]:
    """Return the openers of a model in processes of this machine, by their names in errors; the baseline first."""
    openers: dict[str, Opener] = {}
    options = _options(published.manifest)
    loader, name = sources.find(options.model)
    if loader is not sources.SOURCES[NO_FRAMEWORK]:
        weights = published.manifest.provenance.source.weights
        openers[f"the source of {published.name}"] = Source(loader.load, name, options, weights)
    if published.onnx:
        openers[f"{published.name} in ONNX Runtime"] = OnnxRuntime(published.onnx)
    if not openers:
        raise PerfError(f"neither a source framework nor ONNX Runtime runs {published.name}")
    return openers


# What is put before a model and after it: the answers to measure are those of the whole.
WRAPPING = (
    *("with_preprocessing", "with_postprocessing", "head", "top_k", "score_threshold", "iou_threshold"),
    *("max_detections", "pooling"),
)


def _options(manifest: Manifest) -> Options:
    """Return the options that load a version's source as they did when the version was made."""
    written, weights = manifest.provenance.options, manifest.provenance.source.weights
    if manifest.provenance.rebuilt:
        raise PerfError(f"the source of {manifest.name} is not known: its record was rebuilt", "Generate it again")
    source, _ = sources.find(written["model"])
    names = (*source.options, *(name for name in WRAPPING if name in FIELDS))
    own = {name: FIELDS[name].parse(written[name]) for name in names if written.get(name)}
    if weights.kind in ("pretrained", "random"):
        # Random too if the weights could not be downloaded then.
        own["weights"] = weights.kind
    return replace(default_options(written["model"]), seed=written["seed"], **own)


def _measure_model(
    published: Published,
    rows: Rows,
    batch_sizes: Sequence[int],
    seconds: float,
    rounds: int,
    served: Served,
    progress: Progress,
) -> Iterator[InProcess]:
    with ExitStack() as stack:
        with progress.step("load", f"loading {published.name}") as step:
            openers = _openers(published)
            workers = [stack.enter_context(worker(title, opener)) for title, opener in openers.items()]
            step.outcome = " and ".join(each.framework for each in workers)
        turns = _Turns(published, workers, rows, seconds, served, progress)
        for size in turns.fitting(batch_sizes):
            yield from turns.measure(size, rounds)


class _Turns:
    """The ways to call one model, in turn."""

    def __init__(
        self,
        published: Published,
        workers: Sequence[Worker],
        rows: Rows,
        seconds: float,
        served: Served,
        progress: Progress,
    ) -> None:
        self.published, self.rows, self.seconds = published, rows, seconds
        self.served, self.progress = served, progress
        self.workers = {each.framework: each for each in workers}
        self.is_served = True

    def fitting(self, batch_sizes: Sequence[int]) -> Sequence[int]:
        """Return the batch sizes that the model can take; warn of the others, in process or served."""
        name, most = self.published.name, self.published.manifest.max_batch_size
        larger = ", ".join(str(size) for size in batch_sizes if size > max(1, most))
        if not self.published.batched:
            if larger:
                self.progress.warn(f"{name} has no batch dimension: it is measured as it is, and not at batch {larger}")
            return (1,)
        if larger:
            self.progress.warn(f"{name} is served in batches of up to {most}: batch {larger} is only measured here")
        return batch_sizes

    def measure(self, batch_size: int, rounds: int) -> list[InProcess]:
        """Measure one batch size in all ways, and return a row for each."""
        arrays = _batch(self.rows, batch_size, self.published.batched)
        found: dict[str, list[Found]] = {framework: [] for framework in self._ways(batch_size)}
        with self.progress.step("measure", f"measuring {self.published.name}, batch {batch_size}") as step:
            for number in range(1, rounds + 1):
                # Every second round is reversed, so that drift favours no framework.
                for framework in list(found)[:: 1 if number % 2 else -1]:
                    self.progress.note(f"{framework}, round {number} of {rounds}")
                    once = self._once(framework, batch_size, arrays)
                    if once:
                        found[framework].append(once)
            rows = self._summary(batch_size, {name: each for name, each in found.items() if len(each) == rounds})
            step.outcome = ", ".join(f"{row.framework} {row.mean / 1e3:.3g} ms" for row in rows)
        return rows

    def _ways(self, batch_size: int) -> list[str]:
        served = self.is_served and batch_size <= max(1, self.published.manifest.max_batch_size)
        return [*self.workers, *([SERVED] if served else [])]

    def _once(self, framework: str, batch_size: int, arrays: Arrays) -> Found | None:
        if framework in self.workers:
            return self.workers[framework].time(arrays, self.seconds)
        if not self.is_served:  # it failed in an earlier round
            return None
        try:
            return ServedRound(*self.served(self.published.name, batch_size))
        except (ModelRepoError, ClientError) as error:
            self.is_served = False
            self.progress.warn(f"{self.published.name} is not measured served from batch {batch_size} on: {error}")
            return None

    def _summary(self, batch_size: int, found: Mapping[str, Sequence[Found]]) -> list[InProcess]:
        baseline, *others = found
        usual = [_usual(each) for each in found[baseline]]
        # Without a source framework the name says which one the others are compared with.
        name = f"{baseline} (baseline)" if baseline.startswith("onnxruntime ") else baseline
        rows = [_row(self.published.name, name, batch_size, found[baseline], None)]
        rows += [_row(self.published.name, framework, batch_size, found[framework], usual) for framework in others]
        return rows


def _row(
    model: str, framework: str, batch_size: int, found: Sequence[Found], baseline: Sequence[float] | None
) -> InProcess:
    """Return the figures of all rounds; ``baseline`` has the median call of each round of the source framework."""
    pairs = list(zip(baseline, map(_usual, found), strict=True)) if baseline else []
    held = [each.memory_bytes for each in found if each.memory_bytes is not None]
    return InProcess(
        model=model,
        framework=framework,
        batch_size=batch_size,
        **_figures(found, batch_size),
        memory_bytes=max(held, default=None),
        speed_up=ratio_of(pairs),
    )


def _usual(found: Found) -> float:
    """Return the median of a round's calls, on which a few delayed calls have no effect."""
    return median(found.calls) if isinstance(found, Timed) else found.figures.latency.p50


def _figures(found: Sequence[Found], batch_size: int) -> dict[str, float]:
    """Return the medians of the rounds' figures."""
    rounds = [_round(each, batch_size) for each in found]
    return {name: median(each[name] for each in rounds) for name in rounds[0]}


def _round(found: Found, batch_size: int) -> dict[str, float]:
    if isinstance(found, ServedRound):
        latency = found.figures.latency
        percentiles = {"p50": latency.p50, "p95": latency.p95, "p99": latency.p99}
        return {"mean": latency.avg, **percentiles, "throughput": found.figures.throughput}
    import numpy as np

    mean = fmean(found.calls)
    p50, p95, p99 = (float(value) for value in np.percentile(found.calls, (50, 95, 99)))
    return {"mean": mean, "p50": p50, "p95": p95, "p99": p99, "throughput": batch_size / mean * 1e6}


def _batch(rows: Rows, batch_size: int, batched: bool) -> Arrays:
    """Return rows as one batch, repeated if there are too few; without a batch dimension, the first one."""
    import numpy as np

    if not batched:
        return {name: np.asarray(array) for name, array in rows[0].items()}
    chosen = list(islice(cycle(rows), batch_size))
    return {name: np.stack([row[name] for row in chosen]) for name in rows[0]}
