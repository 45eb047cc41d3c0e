"""The step that combines the answers of an ensemble's members: an ONNX graph that is published as NAME__combine."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelrepo.generator.ensembles import combining
from modelrepo.generator.ensembles.combining import Combination
from modelrepo.generator.ensembles.member import Made, Member, Site
from modelrepo.generator.errors import OptionError, nearest
from modelrepo.generator.graphs import edit
from modelrepo.generator.repository.layout import LABELS
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.ensembles import EnsembleSpec, Step
from modelrepo.generator.specs.tensors import Array, Arrays, TensorSpec

MODEL = "model.onnx"
BATCH = "batch"
# numpy's names of types by Triton's, as ModelConfig writes them.
DTYPES = {
    **{f"TYPE_FP{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"TYPE_{sign}INT{bits}": f"{sign}INT{bits}".lower() for sign in ("", "U") for bits in (8, 16, 32, 64)},
    "TYPE_BF16": "bfloat16",
    "TYPE_BOOL": "bool",
    "TYPE_STRING": "string",
}
TRITON_TYPES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Voice:
    """A member whose answers are combined; see ``combining.Answering``."""

    name: str
    outputs: tuple[TensorSpec, ...]
    labels: tuple[str, ...]


def member(step: Step, site: Site) -> Member:
    """Return the model that combines the members that a step names, made of an ONNX graph.

    Raises OptionError for members that disagree in an output, or in the order of their classes: both ends are named.
    """
    settings = step.settings
    names: Sequence[str] = settings["members"]
    unknown = next((name for name in names if name not in site.members), None)
    if unknown is not None:
        raise OptionError(
            f"step {step.name!r} combines {unknown!r}, which is not a step", nearest(unknown, site.members)
        )
    voices = [voice(name, site.members[name], site.repository) for name in names]
    combination = Combination(step.rest, settings["weights"], settings["of"], settings["combined"])
    outputs, notes = combining.chosen(combination, voices)
    graph = combining.graph(combination, voices, outputs)
    edit.save(graph, site.folder)
    labels = next((each.labels for each in voices if each.labels), ())
    beside = {LABELS: _written(site.folder / LABELS, labels)} if labels else {}
    most = [site.members[name].config.max_batch_size for name in names]
    config = _config(site.ensemble.own_model(step), graph, min(most) if all(most) else 0, labels)

    def reference(arrays: Arrays) -> Mapping[str, Array]:
        answers = [{each: arrays[combining.input_name(name, each)] for each in outputs} for name in names]
        return combining.reference(combination, answers, outputs)

    made = Made("onnxruntime", {MODEL: site.folder / MODEL}, beside, {"onnx": _onnx_version()}, notes)
    return Member(config.name, 0, config, reference, made=made)


def completed(spec: EnsembleSpec, members: Mapping[str, Member]) -> EnsembleSpec:
    """Return an ensemble of parallel members with what its table leaves open; others stay as they are.

    All members take the same inputs, which clients send. The answers are the combined ones, and what members give
    besides is left out. A function takes the answers in the order of the members. OptionError for one that takes more
    or fewer.
    """
    if not spec.parallel:
        return spec
    last, voices = spec.steps[-1], [(name, members[name].config) for name in spec.parallel]
    inputs = {name: {tensor.name: tensor.name for tensor in config.input} for name, config in voices}
    if last.scheme == "python":
        inputs[last.name] = _in_order(last, members[last.name].config, voices)
    steps = tuple(replace(step, inputs={**inputs.get(step.name, {}), **step.inputs}) for step in spec.steps)
    given = {tensor.name: f"{last.name}.{tensor.name}" for tensor in members[last.name].config.output}
    return replace(spec, steps=steps, outputs=spec.outputs or given)


def _in_order(step: Step, config: Any, voices: Sequence[tuple[str, Any]]) -> dict[str, str]:
    """Return what a function that combines answers takes: those of the first member, of the second, and so on."""
    ports = [tensor.name for tensor in config.input if tensor.name not in step.inputs]
    given = [f"{name}.{tensor.name}" for name, answers in voices for tensor in answers.output]
    if not step.inputs and len(ports) != len(given):
        raise OptionError(
            f"{step.rest} takes {len(ports)} arrays ({', '.join(ports)}), and the members give {len(given)} "
            f"({', '.join(given)})",
            "Write an argument for each, in this order",
        )
    return dict(zip(ports, given, strict=False))


def voice(name: str, member: Member, repository: Repository) -> Voice:
    """Return what a step's model answers, with the names of its classes."""
    return Voice(
        name, specs(member.config.output, batched=member.config.max_batch_size > 0), labels(member, repository)
    )


def specs(tensors: Iterable[Any], *, batched: bool) -> tuple[TensorSpec, ...]:
    """Return tensors of a ModelConfig as clients send and receive them; sizes that are not fixed have names."""
    from tritonclient.grpc import model_config_pb2

    return tuple(
        TensorSpec(
            tensor.name,
            DTYPES[model_config_pb2.DataType.Name(tensor.data_type)],
            (*((BATCH,) if batched else ()), *(_dim(tensor.name, *each) for each in enumerate(tensor.dims))),
        )
        for tensor in tensors
    )


def _dim(name: str, axis: int, size: int) -> int | str:
    return size if size >= 0 else f"{name}_{axis}"


def labels(member: Member, repository: Repository) -> tuple[str, ...]:
    """Return the names of a model's classes in order; empty if it has none."""
    named = next((tensor.label_filename for tensor in member.config.output if tensor.label_filename), "")
    if not named:
        return ()
    file = member.made.beside.get(named) if member.made else repository.root / member.name / named
    return tuple(file.read_text("utf-8").splitlines()) if file else ()


def _written(path: Path, labels: Iterable[str]) -> Path:
    path.write_text("".join(f"{label}\n" for label in labels), "utf-8")
    return path


def _config(name: str, graph: Any, max_batch_size: int, labels: Sequence[str]) -> Any:
    """Return the ModelConfig of a graph whose tensors have the batch as their first dimension, if there is one."""
    import onnx
    from tritonclient.grpc import model_config_pb2

    config = model_config_pb2.ModelConfig(name=name, backend="onnxruntime", max_batch_size=max_batch_size)
    for listed, values in ((config.input, graph.graph.input), (config.output, graph.graph.output)):
        for value in values:
            kind = value.type.tensor_type
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
            dims = [dim.dim_value or -1 for dim in kind.shape.dim][bool(max_batch_size) :]
            tensor = listed.add(name=value.name, data_type=model_config_pb2.DataType.Value(TRITON_TYPES[dtype]))
            tensor.dims[:] = dims
    for tensor in config.output:
        if labels and list(tensor.dims)[-1:] == [len(labels)]:
            tensor.label_filename = LABELS
    config.instance_group.add(count=1, kind=model_config_pb2.ModelInstanceGroup.KIND_CPU)
    return config


def _onnx_version() -> str:
    import onnx

    return str(onnx.__version__)
