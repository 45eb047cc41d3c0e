"""TensorFlow Lite's interpreter: it opens a file here only after another process has survived that."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import SourceError
from modelrepo.generator.sources.tensorflow import cause, tensorflow
from modelrepo.generator.system import process
from modelrepo.generator.system.extras import TENSORFLOW, need
from modelrepo.generator.system.quiet import quiet, unheard

AGAIN = "Convert it again, or save or download it again"
TRIAL_SECONDS = 300
# Opens a file as ``opened`` does and runs it on zeros, with dynamic dimensions of 1 and of 2. Errors are left to the
# next opening: this only finds out whether the file ends a process.
TRIAL = """
import contextlib, json, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

path, plain = sys.argv[1], OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
found = {"quantized": False, "halves": False}

def ask(interpreter, size):
    for each in interpreter.get_input_details():
        if any(dim < 0 for dim in each["shape_signature"]):
            shape = [size if dim < 0 else dim for dim in each["shape_signature"]]
            interpreter.resize_tensor_input(each["index"], shape)
    interpreter.allocate_tensors()
    for each in interpreter.get_input_details():
        interpreter.set_tensor(each["index"], np.zeros(each["shape"], each["dtype"]))
    interpreter.invoke()

with contextlib.suppress(Exception):
    interpreter = Interpreter(model_path=path, experimental_op_resolver_type=plain)
    tensors = interpreter.get_tensor_details()
    found["quantized"] = any(len(each["quantization_parameters"]["scales"]) for each in tensors)
    found["halves"] = any(each["dtype"] == np.float16 for each in tensors)
    if found["quantized"]:
        interpreter = Interpreter(model_path=path)
    for size in (1, 2):
        ask(interpreter, size)
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Numbers:
    """The types of a file's weights other than float32."""

    quantized: bool
    halves: bool


def tried(path: Path) -> Numbers:
    """Open and run a file in a separate process, and return the types found; SourceError if that process crashes.

    LiteRT checks the structure of a file's tables, but not all of their values: XNNPACK ends with a segmentation fault
    on invalid scales and zero points.
    """
    command = [sys.executable, "-P", "-c", TRIAL, str(path)]  # -P: not the modules of the user's folder
    try:
        finished = process.run(command, timeout=TRIAL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"TensorFlow Lite does not run {path} within {TRIAL_SECONDS} s", AGAIN) from error
    if finished.code < 0:
        name = signal.Signals(-finished.code).name
        raise SourceError(f"{path} is damaged: TensorFlow Lite's interpreter crashes on it with {name}", AGAIN)
    if finished.code:
        raise SourceError(f"can't try TensorFlow Lite's interpreter: {finished.last_words}")
    return Numbers(**json.loads(finished.out))


def opened(path: Path, numbers: Numbers) -> Any:
    """Return the interpreter of a file that was tried, ready to run; SourceError if it refuses the file.

    XNNPACK holds a rearranged copy of the weights, so it runs quantized files only: there it rounds as ONNX Runtime
    does, which the interpreter's own operators do not.
    """
    tensorflow()  # before other packages that contain parts of it
    with quiet(), unheard():
        lite = need("ai_edge_litert.interpreter", TENSORFLOW)
    kinds = lite.OpResolverType
    kind = kinds.AUTO if numbers.quantized else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with reading(path):
        interpreter = lite.Interpreter(model_path=str(path), experimental_op_resolver_type=kind)
        interpreter.allocate_tensors()
    return interpreter


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn any error into a SourceError that a file can't be opened: its facts are read without checks."""
    try:
        with quiet(), unheard():
            yield
    except Exception as error:  # ValueError or RuntimeError from C++, and others for names that are not text
        raise SourceError(f"can't open {path}: {cause(error).rstrip('.')}", AGAIN) from error
