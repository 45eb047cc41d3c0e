"""A served model that is ready to be measured: its input data is written, and its right answers are known."""

import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median

from modelrepo.clients import Client
from modelrepo.clients.errors import ClientError, ServerRefused
from modelrepo.clients.models import Answer, Model
from modelrepo.clients.settings import Address
from modelrepo.generator.errors import OptionError, PerfError, first_line
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.specs.tensors import Array
from modelrepo.perf.measuring import had, input_data
from modelrepo.perf.measuring.input_data import SIZES, Shapes
from modelrepo.perf.results.results import Subject

SEED = 0
# The factor of room in shared memory over the largest output that was seen: an output's size may depend on the input.
ROOM = 4
LONGEST = 120


@dataclass(frozen=True)
class Target:
    """A model to measure, its server, and its input data.

    ``rows`` are samples, ``answers`` those of the idle server, ``seconds`` its time for one. ``data`` is a file for
    perf_analyzer with the rows, or one of the user's.
    """

    subject: Subject
    address: Address
    model: Model
    data: Path
    rows: Sequence[Mapping[str, Array]] = field(repr=False)
    answers: Sequence[Answer] = field(repr=False)
    seconds: float
    output_bytes: int

    @property
    def wire_bytes(self) -> tuple[int, int]:
        """The mean bytes of the values in a request of one sample, and in its answer; zeros if they are not known."""
        if not self.rows:
            return 0, 0
        requests, answers = (sum(map(had.size_of_request, each)) for each in (self.rows, self.answers))
        return round(requests / len(self.rows)), round(answers / len(self.answers))

    @property
    def sizes(self) -> int:
        """The number of different sizes among the rows: a request of several samples has one."""
        return len({tuple(array.shape for array in row.values()) for row in self.rows})

    def request(self, row: int) -> Mapping[str, Array]:
        """Return a row as a request of one sample."""
        lead = self.model.max_batch_size > 0
        return {name: array[None] if lead else array for name, array in self.rows[row % len(self.rows)].items()}


@dataclass(frozen=True)
class Data:
    """The user's choice of input data: ``source`` is random, samples, or a file; ``shapes`` are by input name."""

    source: str
    shapes: Shapes
    samples: Path | None = None


def short(name: str) -> str:
    """Return a model's name, shortened for a file's name, which file systems limit to 255 bytes."""
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}~{zlib.crc32(name.encode()):08x}"


def prepare(
    client: Client,
    address: Address,
    name: str,
    manifest: Manifest | None,
    precision: str | None,
    data: Data,
    folder: Path,
    progress: Progress,
) -> Target:
    """Find a model by ``NAME`` or ``NAME:VERSION``, write its input data into a folder, and send each row.

    Raises OptionError for data that does not fit, PerfError if the model refuses all of it, and ClientError if the
    server does not answer.
    """
    model_name, colon, version = name.partition(":")
    model = client.model(model_name, version)
    if colon and version not in model.versions:
        raise OptionError(f"{model_name} has no version {version!r}", f"It is served as {', '.join(model.versions)}")
    version = version or max(model.versions, key=int, default="")
    subject = Subject(model_name, version, model.backend or model.platform, precision, address.protocol)
    if data.source.endswith(".json"):
        return _with_file(client, subject, address, model, Path(data.source), data.shapes)
    rows, answers, seconds = _rows(client, model, version, manifest, data, progress)
    path = folder / f"{short(model_name)}-{version}.json"
    input_data.write(rows, path)
    largest = max(map(had.size_of_request, answers))
    return Target(subject, address, model, path, rows, answers, seconds, max(1, largest) * ROOM)


def _with_file(client: Client, subject: Subject, address: Address, model: Model, path: Path, shapes: Shapes) -> Target:
    """Return a target with a user's JSON file for perf_analyzer, which is not checked here."""
    if not path.is_file():
        raise OptionError(f"there is no file {path}", "Name it with --input-data")
    if shapes:
        raise OptionError("--shape is for random values", f"Write the shapes into {path}")
    return Target(subject, address, model, path.resolve(), (), (), 0.0, 1 << 20)


def _rows(
    client: Client, model: Model, version: str, manifest: Manifest | None, data: Data, progress: Progress
) -> tuple[list[dict[str, Array]], list[Answer], float]:
    wanted, batched = input_data.signature(model, manifest), model.max_batch_size > 0
    if data.source != "random":
        path = _samples(model.name, manifest, data)
        if data.shapes:
            raise OptionError("--shape is for random values", f"The samples of {path} have shapes of their own")
        own = had.of_kinds(model) and had.is_had(path)
        rows = input_data.had_rows(path, model) if own else input_data.sample_rows(path, wanted, batched)
        try:
            return rows, *_asked(client, model, version, rows)
        except ServerRefused as error:
            raise OptionError(
                f"{model.name} refuses samples of {path}: {first_line(error.message)}", "Correct --input-data"
            ) from error
    kinds = [tensor.name for tensor in had.of_kinds(model)]
    dynamic = [spec.name for spec in wanted.inputs if any(isinstance(dim, str) for dim in spec.shape[batched:])]
    dynamic = [name for name in dynamic if name not in kinds]
    free = [name for name in dynamic if name not in data.shapes]
    for size in SIZES if free else SIZES[:1]:
        rows = input_data.likely_rows(model, manifest, size, data.shapes, SEED)
        try:
            answers, seconds = _asked(client, model, version, rows)
        except ServerRefused as error:
            refusal = error
            continue
        if free:
            progress.warn(f"{model.name}: {', '.join(free)} of any size are measured at {size}; choose with --shape")
        return rows, answers, seconds
    raise PerfError(
        f"{model.name} refuses {'photographs and texts' if kinds else 'random values'}: {first_line(refusal.message)}",
        f"Give it real ones with --input-data {'FILE' if kinds else 'FILE.npz'}",
    ) from refusal


def _samples(name: str, manifest: Manifest | None, data: Data) -> Path:
    if data.source != "samples":
        path = Path(data.source)
    elif data.samples:
        path = data.samples
    else:
        recorded = manifest.provenance.options.get("samples") if manifest else None
        if not recorded:
            raise OptionError(
                f"{name} was not published with samples", "Name a file with --input-data, or use --input-data random"
            )
        path = Path(str(recorded))
    if not path.exists():
        raise OptionError(f"there is no file {path}", "Name the samples with --input-data FILE.npz")
    return path


def _asked(
    client: Client, model: Model, version: str, rows: Sequence[Mapping[str, Array]]
) -> tuple[list[Answer], float]:
    """Send each row twice: first for the answers, then, with a warm model, for the time."""
    lead = model.max_batch_size > 0
    requests = [{name: array[None] if lead else array for name, array in row.items()} for row in rows]
    answers: list[Answer] = [client.infer(model.name, request, version=version) for request in requests]
    marks = [time.perf_counter()]
    for request in requests:
        client.infer(model.name, request, version=version)
        marks.append(time.perf_counter())
    return answers, median(end - start for start, end in pairwise(marks))


def is_there(client: Client) -> bool:
    """Whether the server still answers."""
    try:
        return client.is_live(deadline=5.0)
    except ClientError:
        return False
