"""Members that are published models: found, pinned, and answered here by the file that was proven."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from modelrepo.generator.ensembles import python_step, texts
from modelrepo.generator.ensembles.member import Member, Site
from modelrepo.generator.ensembles.reference import Pipeline, Stage
from modelrepo.generator.errors import ConversionError, InputRefused, ModelRepoError, RepositoryError, refused
from modelrepo.generator.graphs import runtime
from modelrepo.generator.lint.declared import is_ensemble
from modelrepo.generator.repository.lifecycle.standing import Standing, standing
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.ensembles import Step
from modelrepo.generator.specs.tensors import Array, Arrays
from modelrepo.generator.triton import pbtxt

Reference: TypeAlias = Callable[[Arrays], Mapping[str, Array]]
MODEL_FILE = "model.onnx"


def _python(record: Manifest, folder: Path, config: Any) -> Reference:
    """Return a model of the Python backend that was made for a step: of a function, or of a tokenizer."""
    if texts.is_one(folder):
        return texts.published(folder)
    return python_step.published(record, folder, config)


# How a published model of a backend is answered in Python: by its ``backend`` in config.pbtxt. Others can't be.
REFERENCES: dict[str, Callable[[Manifest, Path, Any], Reference]] = {"python": _python}


def member(step: Step, site: Site) -> Member:
    """Return the published model of a step, with its version pinned.

    RepositoryError if there is no such model or version, or if it is not served; the message names the step.
    """
    name, at, version = step.use.partition("@")
    if at and not version.isdecimal():
        raise RepositoryError(f"step {step.name!r}: {version!r} is not a version of {name}", f"Write {name}@1")
    return of_step(step.name, name, int(version) if at else None, site.repository)


def own(step: Step, site: Site) -> Member:
    """Return the model that was published of a step's ONNX file: `generate` makes it as ENSEMBLE__STEP before."""
    return of_step(step.name, site.ensemble.own_model(step), None, site.repository)


def of_step(step: str, name: str, version: int | None, repository: Repository) -> Member:
    """Return a published model as a member; errors name the step."""
    try:
        return pinned(repository, name, version)
    except ModelRepoError as error:
        raise type(error)(f"step {step!r}: {error.message}", error.hint) from error


def pinned(repository: Repository, name: str, number: int | None = None) -> Member:
    """Return a published model of which a version is pinned: ``number``, or the one that clients get by default.

    Raises RepositoryError if it is not there, not ours, not as it was published, or not served; ConversionError if an
    ensemble can't call it.
    """
    model = standing(repository, name)
    number = _chosen(model, number)
    record = model.version(number).manifest
    assert record is not None  # noqa: S101 - it has no fault
    config = pbtxt.parse(model.config or "", f"the configuration of {name}")
    _refuse_unsuitable(name, config)
    specs = {spec.name: spec for spec in record.provenance.source.inputs}
    return Member(
        name=name,
        version=number,
        config=config,
        reference=_reference(repository, record, config),
        inputs=tuple(specs[tensor.name] for tensor in config.input if tensor.name in specs),
        record=record,
        input_kinds=_kinds(config),
        calls=_calls(repository, config),
    )


def _chosen(model: Standing, number: int | None) -> int:
    """Return the version to pin; RepositoryError if there is none that is served."""
    name = model.name
    if not model.ours:
        raise RepositoryError(f"{name} was not made by modelrepo, so its answers are not known", "Generate it first")
    if model.trouble:
        raise RepositoryError(
            f"can't tell which versions of {name} are served: {model.trouble}", f"Run modelrepo check for {name}"
        )
    if number is None and not model.served:
        raise RepositoryError(f"no version of {name} is served", f"`modelrepo promote {name} N` serves one")
    number = max(model.served) if number is None else number
    fault = model.fault(model.version(number))
    if fault:
        raise RepositoryError(
            f"version {number} of {name} can't be served: {fault}", "Generate it again, or pin another"
        )
    if number not in model.served:
        together = ",".join(str(each) for each in sorted({number, *model.served}))
        raise RepositoryError(
            f"version {number} of {name} is not served, and Triton refuses an ensemble that needs it",
            f"`modelrepo promote {name} {together}` serves it",
        )
    return number


def _refuse_unsuitable(name: str, config: Any) -> None:
    """Refuse what an ensemble can't call so that each request has one answer that is known."""
    if config.HasField("sequence_batching"):
        raise ConversionError(f"{name} takes sequences, which an ensemble can't hand on as they were proven")
    if config.model_transaction_policy.decoupled:
        raise ConversionError(f"{name} is decoupled: it may give any number of answers to one request")
    if config.batch_input or config.batch_output or any(each.allow_ragged_batch for each in config.input):
        raise ConversionError(f"{name} has ragged batching, whose answers are not known here")


def _kinds(config: Any) -> dict[str, str]:
    written = config.parameters["input_kinds"].string_value if "input_kinds" in config.parameters else ""
    return dict(each.split("=", 1) for each in written.split(",") if "=" in each)


def _calls(repository: Repository, config: Any) -> tuple[Member, ...]:
    """Return the models that an ensemble calls, as it pins them."""
    steps = config.ensemble_scheduling.step
    pins = dict.fromkeys((each.model_name, _pin(each.model_version)) for each in steps)
    return tuple(pinned(repository, name, version) for name, version in pins)


def _pin(version: int) -> int | None:
    return version if version > 0 else None


def _reference(repository: Repository, record: Manifest, config: Any) -> Reference:
    if is_ensemble(config):
        return pipeline_of(repository, config)
    folder = repository.root / record.name / str(record.version)
    known = REFERENCES.get(config.backend)
    if known:
        return known(record, folder, config)
    if (folder / MODEL_FILE).is_file():
        return OnnxReference(folder / MODEL_FILE, record, config)

    def unknown(arrays: Arrays) -> Mapping[str, Array]:
        raise ConversionError(
            f"{record.name} is served by {config.backend}, which can't be asked here",
            "Name a model of the onnx backend: an ensemble is compared with its steps, run one after the other",
        )

    return unknown


def pipeline_of(repository: Repository, config: Any) -> Pipeline:
    """Return the steps of a published ensemble as a function, run one after the other."""
    stages, ready = [], {tensor.name for tensor in config.input}
    left = list(config.ensemble_scheduling.step)
    while left:
        step = next((each for each in left if ready >= {*each.input_map.values()}), None)
        if step is None:
            raise ConversionError(f"the steps of {config.name} need each other")
        left.remove(step)
        ready |= {*step.output_map.values()}
        called = pinned(repository, step.model_name, _pin(step.model_version))
        name = next(iter(step.output_map.values())).rpartition(".")[0] or step.model_name
        stages.append(Stage(name, called, dict(step.input_map), dict(step.output_map)))
    return Pipeline(tuple(stages), tuple(tensor.name for tensor in config.output))


class OnnxReference:
    """A published ONNX model as a function of what clients send: the file that was proven, run by ONNX Runtime here."""

    def __init__(self, path: Path, record: Manifest, config: Any) -> None:
        self._opened = cache(lambda: runtime.open_model(path, mapped=True))
        self._config, self._batched = config, config.max_batch_size > 0
        self._scalars = {spec.name for spec in record.provenance.source.inputs if not spec.shape}

    def __call__(self, arrays: Arrays) -> dict[str, Array]:
        """Return the outputs; InputRefused if the model fails on the inputs."""
        model = self._opened()
        given = {name: self._taken(name, array) for name, array in arrays.items()}
        try:
            answers = model(given)
        except ModelRepoError as error:
            raise InputRefused(error.message) from error
        return {tensor.name: self._given(tensor, np.asarray(answers[tensor.name])) for tensor in self._config.output}

    def _taken(self, name: str, array: Array) -> Array:
        if array.dtype == np.object_:
            array = _texts(name, array)
        if name in self._scalars and not self._batched:
            return array.reshape(())
        tensor = next(each for each in self._config.input if each.name == name)
        return self._reshaped(array, tensor.dims, tensor.reshape.shape) if tensor.HasField("reshape") else array

    def _given(self, tensor: Any, array: Array) -> Array:
        if tensor.HasField("reshape"):
            return self._reshaped(array, tensor.reshape.shape, tensor.dims)
        return array.reshape(1) if not array.ndim else array

    def _reshaped(self, array: Array, before: Any, after: Any) -> Array:
        """Return an array with other dims: those of any size keep their order, as in Triton's core."""
        lead = array.shape[:1] if self._batched else ()
        sizes = iter(size for size, dim in zip(array.shape[len(lead) :], before, strict=True) if dim == -1)
        return array.reshape(*lead, *(next(sizes) if dim == -1 else dim for dim in after))


def _texts(name: str, array: Array) -> Array:
    """Return texts as str; InputRefused for bytes that are not UTF-8."""
    found = np.empty(array.shape, object)
    try:
        found.ravel()[:] = [each.decode() if isinstance(each, bytes) else str(each) for each in array.ravel()]
    except UnicodeDecodeError as error:
        raise refused({name: array}, "it is not UTF-8") from error
    return found
