"""TorchScript files, traced, scripted or frozen: `--model torchscript:FILE.pt --input-shape x=1x3x224x224`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import SourceError
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import formats, pytorch
from modelrepo.generator.sources.domains import with_domains
from modelrepo.generator.sources.pytorch import training
from modelrepo.generator.sources.pytorch.arguments import Forward, Parameter, call_with, inputs_of, opened
from modelrepo.generator.sources.source import file_source, path_of
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.system import memory
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.system.extras import TORCH, need
from modelrepo.generator.system.quiet import quiet, unheard

REMEDY = "Call model.eval() before torch.jit.trace or torch.jit.script, and save it again"
# The types of parameters that an example can be made for.
TENSORS = ("Tensor", "Optional[Tensor]")


def files(name: str) -> tuple[Path, ...]:
    """Return the file; SourceError unless it is a TorchScript archive."""
    path = path_of(name)
    formats.expect(path, "torchscript")
    return (path,)


def check(name: str, options: Options) -> None:
    """Raise SourceError unless ``name`` is the path of a TorchScript archive."""
    files(name)


def load(name: str, options: Options, progress: Progress) -> SourceModel:
    """Return the module, on the CPU and in evaluation mode, with the inputs that the options describe.

    Raises SourceError for a file that can't be read, for inputs that nothing describes or that the module does not
    take, and for operators that were recorded in training mode.
    """
    (path,) = files(name)
    need("torch", TORCH)
    reference = f"torchscript:{path.name}"
    memory.check(path.stat().st_size, reference)
    module = _read(path)
    pytorch.refuse_empty(reference, module, "Load its weights before it is traced or scripted, and save it again")
    module.eval()
    forward = forward_of(reference, module)
    specs = with_domains(inputs_of(reference, forward, options.input_shape), options.domain)
    inputs, fixed = opened(specs, options.dynamic)
    return pytorch.source_model(
        reference,
        module,
        inputs,
        Weights("file", path.name, untrained=False, sha256=sha256_of(path)),
        call=call_with(forward, [spec.name for spec in inputs]),
        fixed=fixed,
        samples=options.samples,
    )


def _read(path: Path) -> Any:
    import torch

    try:
        with quiet(), unheard():
            try:
                return torch.jit.load(path, map_location="cpu")
            except RuntimeError as error:
                if "torchvision::" not in str(error):
                    raise
                need("torchvision", TORCH)  # has more operators, such as those of detection models
                return torch.jit.load(path, map_location="cpu")
    except Exception as error:  # torch has no errors of its own for files
        raise SourceError(
            f"torch {torch.__version__} can't read {path}: {pytorch.cause(error)}",
            "Save it again with this torch, before torch.jit.optimize_for_inference; a model with custom "
            "operators is loaded by --model python:MODULE:FACTORY",
        ) from error


def is_script(module: Any) -> bool:
    """Whether a module is a ``torch.jit.ScriptModule``."""
    import torch

    return isinstance(module, torch.jit.ScriptModule)


def forward_of(reference: str, module: Any) -> Forward:
    """Return the parameters of a TorchScript module's forward.

    Raises SourceError for a parameter that is not a tensor, and for a graph that was recorded in training mode.
    """
    if not hasattr(module, "forward"):
        raise SourceError(f"{reference} has no forward", "Save a module with a forward")
    training.refuse(reference, _calls(module.inlined_graph), REMEDY)
    _, *arguments = module._c._get_method("forward").schema.arguments
    odd = next((each for each in arguments if str(each.type) not in TENSORS and not each.has_default_value()), None)
    if odd:
        raise SourceError(
            f"{reference} takes {odd.name!r} as {odd.type}, which is not a tensor",
            "Wrap it in a module whose forward takes tensors, and save that",
        )
    tensors = [each for each in arguments if str(each.type) in TENSORS]
    return Forward(tuple(Parameter(each.name, required=not each.has_default_value()) for each in tensors))


def _calls(block: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the operators of a graph and of the graphs within it, with their constant arguments."""
    import torch

    for node in block.nodes():
        for inner in node.blocks():
            yield from _calls(inner)
        if node.schema() == "(no schema)":
            continue
        schema = torch._C.parse_schema(node.schema())
        yield (
            schema.name.partition("::")[2],
            {
                argument.name: value.toIValue()
                for argument, value in zip(schema.arguments, node.inputs(), strict=False)  # some take any number
                if value.node().kind() == "prim::Constant"
            },
        )


SOURCE = file_source(
    form="torchscript:FILE.pt",
    summary="TorchScript files; they hold no shapes, so --input-shape gives an example of each input",
    frameworks=("torch",),
    load=load,
    check=check,
    files=files,
    options=("input_shape", "dynamic", "opset", "exporter"),
    packages=("torch", "torchvision"),
    extras=(TORCH,),
)
