"""The place of a node in the user's words: the line of the model's code if the exporter kept it, or the layer."""

import ast
import re
from typing import Any

# torch.onnx's record of the code that made a node, and the part of a line of it.
STACK, SCOPES = "pkg.torch.onnx.stack_trace", "pkg.torch.onnx.name_scopes"
LINE = re.compile(r'File "([^"]+)", line (\d+), in')
LIBRARIES = ("/site-packages/", "/dist-packages/", "/modelrepo/", "<")


def place_of(node: Any) -> str:
    """Return the operator of a node, its name, and the line of the user's code, as far as they are known."""
    told = {each.key: each.value for each in node.metadata_props}
    lines = [pair for pair in LINE.findall(told.get(STACK, "")) if not any(part in pair[0] for part in LIBRARIES)]
    if lines:
        file, number = lines[-1]
        where = f"{file.rpartition('/')[2]}:{number}"
    else:
        where = _layer(told.get(SCOPES, ""))
    name = node.name or next(iter(node.output), "")
    return f"{node.op_type} {name}" + (f" ({where})" if where else "")


def _layer(scopes: str) -> str:
    """Return the innermost module of torch.onnx's list of scopes; its last entry is the operator."""
    try:
        names = [str(each) for each in ast.literal_eval(scopes)]
    except (SyntaxError, ValueError):
        return ""
    return next((name for name in reversed(names[:-1]) if name), "")
