"""Arguments of operators that torch's exporters leave out without a word: such a model is refused."""

from collections.abc import Callable, Mapping
from typing import Any

from modelrepo.generator.errors import ConversionError

# An operator of torch, and the argument that is lost unless it is None. No issue known.
LOST: Mapping[str, str] = {"avg_pool2d": "divisor_override", "avg_pool3d": "divisor_override"}

# The torch.export-based exporter writes the mean of what is scattered as the last of it.
AVERAGED = ("scatter_reduce", "reduce", "mean")


def refuse(program: Any) -> None:
    """Raise ConversionError if a program of torch.export calls an operator with an argument that is lost."""
    for node in program.graph.nodes if program is not None else ():
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            continue
        name = schema.name.partition("::")[2]
        operator, argument, value = AVERAGED
        lost = argument if name == operator else LOST.get(name)
        if lost is None:
            continue
        names = [argument.name for argument in schema.arguments]
        given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
        if given.get(lost) == value if name == operator else given.get(lost) is not None:
            raise _refusal(schema.name, lost)


def symbolics(opset: int) -> dict[str, Callable[..., Any]]:
    """Return the older exporter's own translations of these operators, which refuse the argument."""
    return {f"aten::{name}": _refusing(f"aten::{name}", lost, opset) for name, lost in LOST.items()}


def _refusing(name: str, lost: str, opset: int) -> Callable[..., Any]:
    from torch.onnx import symbolic_helper
    from torch.onnx._internal.torchscript_exporter.registration import registry

    group = registry.get_function_group(name)
    own = group.get(opset) if group else None

    def symbolic(graph: Any, *arguments: Any) -> Any:
        # Only divisor_override, the last of seven, is optional here.
        if len(arguments) == 7 and not symbolic_helper._is_none(arguments[-1]):
            raise _refusal(name, lost)
        if own is None:
            raise ConversionError(f"{name.partition('::')[2]} has no ONNX translation")
        return own(graph, *arguments)

    return symbolic


def _refusal(name: str, lost: str) -> ConversionError:
    return ConversionError(f"{name.partition('::')[2]} with {lost} has no ONNX translation")
