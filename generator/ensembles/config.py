"""The config.pbtxt of an ensemble."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from modelrepo.generator.ensembles.wiring import End, Wiring
from modelrepo.generator.repository.layout import LABELS
from modelrepo.generator.repository.lost import OURS
from modelrepo.generator.specs.ensembles import EnsembleSpec
from modelrepo.generator.specs.tensors import Domain, TensorSpec
from modelrepo.generator.triton import pbtxt

PLATFORM = "ensemble"


@dataclass(frozen=True)
class EnsembleConfig:
    """The configuration of an ensemble that will be published: all but the version's number is certain."""

    message: Any  # a ModelConfig without a version policy
    max_batch_size: int
    origin: str  # where it comes from, in words
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # the names of classes, by their file

    def text(self, version: int, existing: Collection[int] = ()) -> str:
        """Return the text for a version; it alone is served, since all versions share the steps of one file."""
        source = self.message.parameters["source"].string_value
        comment = f"{OURS}{source}; {self.origin}."
        return f"{comment}\n{pbtxt.with_version(pbtxt.to_text(self.message), version)}"


def config_of(
    spec: EnsembleSpec, wiring: Wiring, labels: Mapping[str, tuple[str, ...]] = MappingProxyType({})
) -> EnsembleConfig:
    """Return the configuration of an ensemble, in which each step pins the version of its model.

    ``labels`` has the names of the classes that an output has scores of.
    """
    from tritonclient.grpc import model_config_pb2

    message = model_config_pb2.ModelConfig(name=spec.name, platform=PLATFORM, max_batch_size=wiring.max_batch_size)
    batched = wiring.max_batch_size > 0
    for input_name, ends in wiring.inputs.items():
        _add(message.input, input_name, _narrowest(ends), batched=batched)
    for output_name, end in wiring.outputs.items():
        _add(message.output, output_name, end, batched=batched)
    files: dict[str, tuple[str, ...]] = {}
    for tensor in message.output:
        if tensor.name in labels:
            one = files.setdefault(LABELS, labels[tensor.name]) == labels[tensor.name]
            tensor.label_filename = LABELS if one else f"labels_{len(files)}.txt"
            files[tensor.label_filename] = labels[tensor.name]
    for stage in wiring.stages:
        step = message.ensemble_scheduling.step.add()
        step.model_name, step.model_version = stage.member.name, stage.member.version
        step.input_map.update(stage.inputs)
        step.output_map.update(stage.outputs)
    message.parameters["source"].string_value = f"ensemble:{spec.name}"
    kinds = input_kinds(wiring)
    if kinds:
        message.parameters["input_kinds"].string_value = ",".join(f"{each}={kind}" for each, kind in kinds.items())
    return EnsembleConfig(message, wiring.max_batch_size, spec.origin, files)


def input_kinds(wiring: Wiring) -> dict[str, str]:
    """Return what a client has for each input that takes it as it is."""
    return {
        name: stage.member.input_kinds[port]
        for stage in wiring.stages
        for port, name in stage.inputs.items()
        if name in wiring.inputs and port in stage.member.input_kinds
    }


def recorded(inputs: Iterable[TensorSpec], kinds: Mapping[str, str]) -> tuple[TensorSpec, ...]:
    """Return inputs for a manifest: any text may be sent where those that were asked are only some."""
    texts = {name for name, kind in kinds.items() if kind == "text"}
    told = (spec.described for spec in inputs)
    return tuple(replace(spec, domain=Domain()) if spec.name in texts else spec for spec in told)


def _narrowest(ends: Collection[End]) -> End:
    """Return an end whose shape all ends take: with each size that one of them fixes."""
    first, *others = ends
    dims = list(first.dims)
    for end in others:
        dims = [max(one, two) for one, two in zip(dims, end.dims, strict=True)]
    return replace(first, dims=tuple(dims))


def _add(tensors: Any, name: str, end: End, *, batched: bool) -> None:
    from tritonclient.grpc import model_config_pb2

    tensor = tensors.add()
    tensor.name = name
    tensor.data_type = model_config_pb2.DataType.Value(f"TYPE_{end.data_type}")
    tensor.dims.extend(end.dims[1:] if batched else end.dims)
