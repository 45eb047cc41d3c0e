"""A server's metadata, models and statistics, as frozen dataclasses read from its JSON."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Document: TypeAlias = Mapping[str, Any]
Answer: TypeAlias = dict[str, Array]
NANOSECONDS = 1e9
# What clients have for an input that takes it as it is: uint8 pixels (height, width, 3) of RGB, in any size; the bytes
# of a JPEG, PNG or WebP file; a text.
PIXELS, ENCODED, TEXT = KINDS = ("pixels", "encoded image", "text")


class Answered(Answer):
    """A model's outputs by name; ``version`` is that of the model that answered, empty if the server is silent."""

    def __init__(self, outputs: Mapping[str, Array], version: str = "") -> None:
        super().__init__(outputs)
        self.version = version


@dataclass(frozen=True)
class Tensor:
    """An input or output of a model: Triton's datatype (FP32, BYTES, …) and dims, batch dimension included.

    A dim of -1 takes any size; ``labels`` is True if the server knows a name for every class. ``kind`` is that of an
    input which takes what clients have: one of KINDS, or empty.
    """

    name: str
    datatype: str
    dims: tuple[int, ...]
    optional: bool = False
    labels: bool = False
    kind: str = ""


@dataclass(frozen=True)
class Model:
    """A served model; ``max_batch_size`` is 0 if it does not batch, and then dims have no batch dimension."""

    name: str
    versions: tuple[str, ...]
    platform: str
    max_batch_size: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    backend: str = ""

    def output(self, name: str) -> Tensor | None:
        """Return an output by name, or None."""
        return next((tensor for tensor in self.outputs if tensor.name == name), None)


@dataclass(frozen=True)
class Server:
    """A server's own metadata."""

    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True)
class Turn:
    """The place of a request in a sequence: the correlation ID of the sequence, above 0, and whether it is an end."""

    identity: int
    first: bool = False
    last: bool = False


@dataclass(frozen=True)
class IndexEntry:
    """A model version of the server's repository: ``state`` is READY, UNAVAILABLE, … or empty if never loaded."""

    name: str
    version: str
    state: str
    reason: str


@dataclass(frozen=True)
class Classification:
    """One of the best classes: its label (empty if the model has none), index, and the model's output for it."""

    label: str
    index: int
    score: float


class Classes(tuple[tuple[Classification, ...], ...]):
    """The best classes of each sample, best first; ``version`` is that of the model that answered."""

    version: str = ""


@dataclass(frozen=True)
class Duration:
    """A number of executions, and their total seconds."""

    count: int
    seconds: float

    @property
    def mean(self) -> float:
        """The mean seconds, 0.0 without executions."""
        return self.seconds / self.count if self.count else 0.0


@dataclass(frozen=True)
class BatchStatistics:
    """The executions of one batch size."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


@dataclass(frozen=True)
class Statistics:
    """The statistics of a model version since it was loaded: ``inferences`` counts samples, ``executions`` batches.

    ``last_inference`` is in seconds since the epoch, None before the first.
    """

    name: str
    version: str
    last_inference: float | None
    inferences: int
    executions: int
    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration
    batches: tuple[BatchStatistics, ...]


def read_kinds(config: Document) -> dict[str, str]:
    """Return the kind of each input that has one, by name, from a model's configuration; unknown kinds are left out.

    They are in its parameter ``input_kinds``.
    """
    return kinds_in(str(config.get("parameters", {}).get("input_kinds", {}).get("string_value", "")))


def kinds_in(parameter: str) -> dict[str, str]:
    """Return the kinds in a parameter such as ``image=pixels,review=text``, by the names of inputs."""
    return dict(re.findall(rf"(?:^|,)(.+?)=({'|'.join(KINDS)})(?=,|$)", parameter))


def read_model(metadata: Document, config: Document) -> Model:
    """Return a model from its metadata and its configuration."""
    optional = {tensor["name"] for tensor in config.get("input", ()) if tensor.get("optional")}
    labelled = {tensor["name"] for tensor in config.get("output", ()) if tensor.get("label_filename")}
    kinds = read_kinds(config)

    def tensors(key: str) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(
                tensor["name"],
                tensor["datatype"],
                tuple(int(dim) for dim in tensor.get("shape", ())),
                optional=key == "inputs" and tensor["name"] in optional,
                labels=key == "outputs" and tensor["name"] in labelled,
                kind=kinds.get(tensor["name"], "") if key == "inputs" else "",
            )
            for tensor in metadata.get(key, ())
        )

    return Model(
        name=metadata["name"],
        versions=tuple(metadata.get("versions", ())),
        platform=metadata.get("platform", ""),
        max_batch_size=int(config.get("max_batch_size", 0)),
        inputs=tensors("inputs"),
        outputs=tensors("outputs"),
        backend=config.get("backend", ""),
    )


def read_server(document: Document) -> Server:
    """Return a server's metadata."""
    return Server(document["name"], document["version"], tuple(document.get("extensions", ())))


def read_index(documents: list[Document]) -> tuple[IndexEntry, ...]:
    """Return the entries of the repository index."""
    keys = ("name", "version", "state", "reason")
    return tuple(IndexEntry(*(str(document.get(key, "")) for key in keys)) for document in documents)


def read_statistics(document: Document) -> tuple[Statistics, ...]:
    """Return the statistics of every version; gRPC leaves out zeros, HTTP does not."""
    return tuple(_statistics(each) for each in document.get("model_stats", ()))


def _statistics(document: Document) -> Statistics:
    last = int(document.get("last_inference", 0))
    kinds = document.get("inference_stats", {})
    names = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")
    return Statistics(
        name=document["name"],
        version=document.get("version", ""),
        last_inference=last / 1e3 if last else None,
        inferences=int(document.get("inference_count", 0)),
        executions=int(document.get("execution_count", 0)),
        batches=tuple(_batch(each) for each in document.get("batch_stats", ())),
        **{name: _duration(kinds.get(name, {})) for name in names},
    )


def _batch(document: Document) -> BatchStatistics:
    parts = (_duration(document.get(key, {})) for key in ("compute_input", "compute_infer", "compute_output"))
    return BatchStatistics(int(document["batch_size"]), *parts)


def _duration(document: Document) -> Duration:
    return Duration(int(document.get("count", 0)), int(document.get("ns", 0)) / NANOSECONDS)
