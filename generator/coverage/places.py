"""The place of a node in the user's words: the line of the model's code if the exporter kept it, or the layer."""

import re
from typing import Any

# torch.onnx's record of the code that made a node, and the part of a line of it.
STACK = "pkg.torch.onnx.stack_trace"
LINE = re.compile(r'File "([^"]+)", line (\d+), in')
LIBRARIES = ("/site-packages/", "/dist-packages/", "<")


def place_of(node: Any) -> str:
    """Return the operator of a node, its name, and the line of the user's code, as far as they are known."""
    stack = next((each.value for each in node.metadata_props if each.key == STACK), "")
    lines = [(file, number) for file, number in LINE.findall(stack) if not any(part in file for part in LIBRARIES)]
    where = f" ({lines[-1][0].rpartition('/')[2]}:{lines[-1][1]})" if lines else ""
    name = node.name or next(iter(node.output), "")
    return f"{node.op_type} {name}{where}"
