"""From a framework's model to a form such as ONNX: one package for each framework, and one table."""

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.export import onnx, sklearn, tensorflow, torch, wrapped
from modelrepo.generator.export.exporter import Exporter
from modelrepo.generator.specs.artifacts import ONNX

# By the framework of the source model, and the form that it gets.
EXPORTERS: dict[tuple[str, str], Exporter] = {
    ("torch", ONNX): torch.TO_ONNX,
    ("onnx", ONNX): onnx.TO_ONNX,
    ("sklearn", ONNX): sklearn.TO_ONNX,
    ("tensorflow", ONNX): tensorflow.TO_ONNX,
    ("wrapped", ONNX): wrapped.TO_ONNX,
}


def exporter_of(framework: str, form: str) -> Exporter:
    """Return the exporter from a framework to a form; ConversionError if there is none."""
    if (framework, form) not in EXPORTERS:
        forms = sorted(each for own, each in EXPORTERS if own == framework)
        raise ConversionError(
            f"can't export a {framework} model as {form}: no exporter does that",
            f"It can be exported as {' or '.join(forms)}" if forms else "",
        )
    return EXPORTERS[framework, form]
