"""The server to measure: one that is running already, or a local one that is started for the run."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any
from urllib.error import URLError

from modelrepo.clients import Client, connect
from modelrepo.clients.settings import Address, parse_url
from modelrepo.generator.errors import OptionError, nearest
from modelrepo.generator.graphs import outline
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.repository.repository import Repository
from modelrepo.perf.measuring import metrics
from modelrepo.perf.measuring.target import Data, Target, prepare
from modelrepo.server import Server, running_server

USUAL_METRICS_PORT = 8002
# The precision of a model by ONNX's name of its weights' type.
PRECISION_OF_TYPE = {"FLOAT": "fp32", "FLOAT16": "fp16", "BFLOAT16": "bf16", "INT8": "int8", "UINT8": "int8"}


@dataclass(frozen=True)
class Session:
    """A server to measure: ``local`` is the one that was started for the run, or None.

    ``metrics_url`` is None if its metrics can't be read.
    """

    client: Client
    address: Address
    metrics_url: str | None
    local: Server | None

    def describe(self) -> dict[str, Any]:
        """Return a description of the server, as plain values."""
        metadata = self.client.server()
        return {
            "name": metadata.name,
            "version": metadata.version,
            "url": str(self.address),
            "local": self.local is not None,
            "on_this_machine": self.address.on_loopback,
            "metrics": self.metrics_url or "not reachable",
        }


@contextmanager
def opened(
    url: str | None, repository: Path, names: Sequence[str], protocol: str, metrics_url: str | None, progress: Progress
) -> Iterator[Session]:
    """Yield the server at ``url``, or without a URL a local server of the named models.

    Raises ServerError and ClientError if it can't be started or reached.
    """
    if url is not None:
        address = parse_url(url)
        with connect(url) as client:
            client.server()
            yield Session(client, address, _metrics(address, metrics_url, progress), None)
        return
    check_models(repository, names)
    models = [name.partition(":")[0] for name in names]
    with running_server(repository, control="explicit", models=models, progress=progress) as server:
        for note in server.notes:
            progress.warn(note)
        own = server.grpc_url if protocol == "grpc" else server.http_url
        with connect(own) as client:
            yield Session(client, parse_url(own), server.metrics_url, server)


def check_models(repository: Path, names: Sequence[str]) -> None:
    """Raise OptionError if there is no such repository, and for ``NAME`` or ``NAME:VERSION`` without a model in it."""
    if not repository.is_dir():
        raise OptionError(f"there is no model repository {repository}", "Name it with --repository, or a server: --url")
    known = [folder.name for folder in repository.iterdir() if (folder / CONFIG).is_file()]
    for name in (each.partition(":")[0] for each in names):
        if name not in known:
            hint = nearest(name, known) if known else "Generate it first, or name another with --repository"
            raise OptionError(f"{repository} has no model {name!r}", hint)


def _metrics(address: Address, given: str | None, progress: Progress) -> str | None:
    """Return the URL of the metrics: the user's, or that of their usual port if they can be read there."""
    url = given or f"http://{address.netloc.rpartition(':')[0]}:{USUAL_METRICS_PORT}/metrics"
    if not re.match("https?://", url):
        raise OptionError(f"--metrics-url {url} can't be used", "Write http://HOST:8002/metrics")
    try:
        metrics.read(url)
    except (OSError, ValueError) as error:
        if given:
            reason = error.reason if isinstance(error, URLError) else error
            raise OptionError(f"can't read Triton's metrics at {given}: {reason}", "Correct --metrics-url") from error
        progress.warn(f"can't read metrics at {url}, so CPU and GPU figures are missing; name them with --metrics-url")
        return None
    return url


def prepared(
    session: Session, names: Sequence[str], repository: Path, data: Data, folder: Path, progress: Progress
) -> list[Target]:
    """Return each model ready to be measured; see ``modelrepo.perf.measuring.target.prepare``."""
    targets: list[Target] = []
    for name in names:
        manifest = manifest_of(repository, name)
        precision = precision_of(repository, name)
        with progress.step("prepare", f"asking {name}") as step:
            target = prepare(session.client, session.address, name, manifest, precision, data, folder, progress)
            size = (
                f", {target.wire_bytes[0] / 1e3:,.3g} kB of input"
                if any(each.kind for each in target.model.inputs)
                else ""
            )
            step.outcome = f"{target.seconds * 1e3:.3g} ms a request{size}" if target.rows else ""
        if any(each.subject == target.subject for each in targets):
            raise OptionError(f"{name} is named twice", "Name each version of a model once")
        targets.append(target)
    return targets


def manifest_of(repository: Path, name: str) -> Manifest | None:
    """Return the manifest of ``NAME:VERSION``, or of the newest version for ``NAME``; None if there is none."""
    model, _, version = name.partition(":")
    if not repository.is_dir():
        return None
    found = [each for each in Repository(repository).manifests(model) if not version or str(each.version) == version]
    return found[-1] if found else None


def precision_of(repository: Path, name: str) -> str | None:
    """Return the precision of most of an ONNX model's weights, None for other and remote models."""
    model, _, version = name.partition(":")
    folder = repository / model
    numbers = [int(each.name) for each in folder.glob("[0-9]*") if each.name.isdecimal()]
    path = folder / (version or str(max(numbers, default=""))) / "model.onnx"
    return _weights_type(path) if path.is_file() else None


def _weights_type(path: Path) -> str | None:
    from onnx import TensorProto

    elements: dict[str, int] = {}
    for tensor in outline.read(path).graph.initializer:
        name = TensorProto.DataType.Name(tensor.data_type)
        elements[name] = elements.get(name, 0) + prod(tensor.dims)
    known = [name for name in elements if name in PRECISION_OF_TYPE]
    return PRECISION_OF_TYPE[max(known, key=elements.__getitem__)] if known else None


def parse_shapes(texts: Sequence[str]) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes in texts such as ``NAME:3,224,224``, without batch dimension; OptionError for other texts."""
    shapes = {}
    for text in texts:
        match = re.fullmatch(r"(.+):(\d{1,9}(?:,\d{1,9})*)", text)
        if not match or "0" in match[2].split(","):
            raise OptionError(f"--shape {text} can't be read", "Write NAME:3,224,224, without the batch dimension")
        shapes[match[1]] = tuple(map(int, match[2].split(",")))
    return shapes
