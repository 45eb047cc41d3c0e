"""Clean-up of a graph: fold constants, drop duplicates and unused nodes, fuse transformers' patterns."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ConversionError, first_line
from modelrepo.generator.graphs import edit
from modelrepo.generator.optimize import made
from modelrepo.generator.optimize.silence import silent
from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.system.extras import SIMPLIFY, need

CONTRIB = "com.microsoft"
# ONNX Runtime's fusions for BERT also find those of vision transformers.
FUSIONS = "bert"


def simplified(export: Export, folder: Path, *, for_tensorrt: bool) -> tuple[Export, str]:
    """Write a cleaned-up model into ``folder``; return it, or ``export`` if there is nothing to do, and a summary.

    onnxslim folds and merges within ONNX's own operators. Then come ONNX Runtime's transformer fusions, but not
    ``for_tensorrt``: they use operators of com.microsoft, such as SkipLayerNormalization and BiasGelu, which only ONNX
    Runtime has (1.19.2, 1.24.4 and 1.28.0 opened a ViT-B/16 with them). Raises ConversionError if one of the two fails,
    or the result is not valid.
    """
    need("onnxslim", SIMPLIFY)
    model = edit.load(export.path)
    outputs = [_copy(value) for value in model.graph.output]
    before, tensors_before = _operators(model), len(model.graph.initializer)
    model = _slimmed(model)
    if not for_tensorrt:
        model = _fused(model)
    del model.graph.output[:]  # onnxslim may add to their shapes, or lose the name of a dimension
    model.graph.output.extend(outputs)
    after = _operators(model)
    if (after, len(model.graph.initializer)) == (before, tensors_before):
        return export, f"nothing to simplify in {before.total()} nodes"
    fusions = sum(count for (domain, _), count in (after - before).items() if domain == CONTRIB)
    done = f"simplified: {before.total()} -> {after.total()} nodes" + (f", {fusions} fusions" if fusions else "")
    return made.described(edit.save(model, folder), export), done


def _slimmed(model: Any) -> Any:
    """Return the model after onnxslim; ``model`` is consumed."""
    import onnxslim

    with silent():
        return _attempt("onnxslim", lambda: onnxslim.slim(model))


def _fused(model: Any) -> Any:
    """Return the model with transformers' patterns as operators of ONNX Runtime; ``model`` itself if it has none."""
    import onnx
    from onnxruntime.transformers import optimizer

    before = _operators(model)
    with silent():
        fused = _attempt(
            "ONNX Runtime's transformer optimizer",
            lambda: optimizer.optimize_by_fusion(_copy(model), model_type=FUSIONS).model,
        )
    if not any(domain == CONTRIB for domain, _ in _operators(fused) - before):
        return model
    if CONTRIB not in {entry.domain for entry in fused.opset_import}:
        fused.opset_import.append(onnx.helper.make_opsetid(CONTRIB, 1))
    return fused


def _attempt(tool: str, change: Callable[[], Any]) -> Any:
    try:
        return change()
    except Exception as error:  # both raise any error of their passes
        raise ConversionError(
            f"{tool} can't simplify the model: {type(error).__name__}: {first_line(error)}", "Remove --simplify"
        ) from error


def _operators(model: Any) -> Counter[tuple[str, str]]:
    """Count the nodes of a model by domain and operator."""
    return Counter((node.domain, node.op_type) for node in edit.nodes(model))


def _copy(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
