"""`show`: what a model is, from its record and its configuration; of a folder that is not ours, what that says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelrepo.clients.models import Model, Tensor
from modelrepo.generator.errors import OptionError, RepositoryError
from modelrepo.generator.plans.store import PlanStore
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.repository.lifecycle.standing import Standing, Version, standing
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.tensors import Domain
from modelrepo.generator.triton import pbtxt

# Choices that are named one by one.
NAMED = 5


@dataclass(frozen=True)
class Shown:
    """One version of a model, as a client sees it, and what is known of it.

    ``model`` is None if nothing says what its inputs and outputs are; ``trouble`` says why. ``values`` has the values
    that an input may have, in words, and ``fills`` one of them; ``labels`` the class names of an output. ``files`` are
    those of the version and beside it, with their bytes.
    """

    standing: Standing
    version: Version
    config: str
    message: Any  # a ModelConfig
    model: Model | None
    values: Mapping[str, str]
    fills: Mapping[str, str | float]
    labels: Mapping[str, tuple[str, ...]]
    files: Mapping[str, int]
    trouble: str = ""

    @property
    def record(self) -> Manifest | None:
        """The record of the version; None if it was not made by modelrepo, or if the record is lost."""
        return self.version.manifest

    @property
    def preprocess(self) -> Mapping[str, Any] | None:
        """How a client prepares an input, if that is known."""
        return self.record.provenance.source.preprocess if self.record else None

    @property
    def in_sequences(self) -> bool:
        """Whether its requests belong to sequences."""
        return self.message is not None and self.message.HasField("sequence_batching")

    @property
    def decoupled(self) -> bool:
        """Whether it may give any number of answers to a request."""
        return self.message is not None and bool(self.message.model_transaction_policy.decoupled)


def shown(repository: Repository, name: str, number: int | None = None) -> Shown:
    """Return what is known of a version: of ``number``, or of the newest that is served, or of the newest.

    RepositoryError if there is no such model or version, or if its record can't be read.
    """
    model = _standing(repository, name)
    version = _version(model, number)
    folder = repository.root / name
    record = version.manifest
    # An edit by hand counts where it is in force.
    config = model.config if model.config is not None and (version.served or record is None) else None
    config = config if config is not None else record.config if record else ""
    message, trouble = _parsed(config, model)
    domains = {spec.name: spec.domain for spec in (record.provenance.source.inputs if record else ())}
    return Shown(
        standing=model,
        version=version,
        config=config,
        message=message,
        model=_model(name, version, message) if message is not None and message.input else None,
        values={tensor: in_words(domain) for tensor, domain in domains.items()},
        fills={tensor: value for tensor, domain in domains.items() if (value := _fill(domain)) is not None},
        labels=_labels(folder, message),
        files=_files(folder, version),
        trouble=trouble,
    )


def _standing(repository: Repository, name: str) -> Standing:
    try:
        return standing(repository, name)
    except RepositoryError as error:
        if name in PlanStore(repository).entries():
            raise RepositoryError(
                f"{name} has no version yet: its plan is still to be built",
                f"Build it with: modelrepo plans build {name}",
            ) from error
        raise


def _version(model: Standing, number: int | None) -> Version:
    if number is not None:
        return model.version(number)
    if not model.versions:
        return Version(0, served=False, manifest=None, there=False, note="it has no version")
    usable = [each for each in model.versions if each.there] or list(model.versions)
    return next((each for each in reversed(usable) if each.served), usable[-1])


def _parsed(config: str, model: Standing) -> tuple[Any, str]:
    if not config:
        return None, model.trouble or f"its {CONFIG} is empty"
    try:
        message = pbtxt.parse(config, CONFIG)
    except OptionError as error:
        return None, error.message
    return message, "" if message.input else f"its {CONFIG} names no inputs: Triton asks its backend for them"


def _model(name: str, version: Version, message: Any) -> Model:
    """Return a model as a server that serves it would describe it."""
    kinds = pbtxt.input_kinds(message)
    return Model(
        name,
        (str(version.number),),
        message.platform,
        message.max_batch_size,
        tuple(replace(_tensor(each, message.max_batch_size), kind=kinds.get(each.name, "")) for each in message.input),
        tuple(_tensor(each, message.max_batch_size) for each in message.output),
        message.backend,
    )


def _tensor(tensor: Any, max_batch_size: int) -> Tensor:
    from tritonclient.grpc import model_config_pb2

    datatype = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_").replace("STRING", "BYTES")
    dims = (*((-1,) if max_batch_size > 0 else ()), *tensor.dims)
    labels = bool(getattr(tensor, "label_filename", ""))
    return Tensor(tensor.name, datatype, dims, bool(getattr(tensor, "optional", False)), labels)


def in_words(domain: Domain) -> str:
    """Return the values that an input may have; empty if nothing is known of them."""
    if domain.choices:
        return _listed([str(choice) for choice in domain.choices])
    said = []
    if domain.mask:
        said.append("a mask: ones, then zeros")
    elif domain.low is not None and domain.high is not None:
        said.append(f"{domain.low:g} to {domain.high:g}")
    elif domain.low is not None:
        said.append(f"at least {domain.low:g}")
    elif domain.high is not None:
        said.append(f"at most {domain.high:g}")
    elif domain.known:
        said.append("any")
    if domain.wave:
        said.append("samples of a sound")
    if domain.missing:
        said.append("NaN for a missing value")
    return ", ".join(said)


def _listed(choices: list[str]) -> str:
    first = ", ".join(choices[:NAMED])
    return f"one of {first}" + (f", … ({len(choices)})" if len(choices) > NAMED else "")


def _fill(domain: Domain) -> str | float | None:
    """Return a value for an example; None if zero will do."""
    if domain.choices:
        return domain.choices[0]
    if domain.mask:
        return 1
    return domain.low if domain.low is not None and domain.low > 0 else None


def _labels(folder: Path, message: Any) -> dict[str, tuple[str, ...]]:
    """Return the class names of each output; none for a file that can't be read."""
    found = {}
    for output in message.output if message is not None else ():
        if output.label_filename:
            try:
                text = (folder / output.label_filename).read_text("utf-8", errors="replace")
            except OSError:
                continue
            found[output.name] = tuple(text.splitlines())
    return found


def _files(folder: Path, version: Version) -> dict[str, int]:
    """Return the files of a version and those beside the versions, with their bytes."""
    own = sorted((folder / str(version.number)).rglob("*")) if version.there else []
    beside = sorted(folder.iterdir()) if folder.is_dir() else []
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in _only_files((*own, *beside))}


def _only_files(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.is_file()]
