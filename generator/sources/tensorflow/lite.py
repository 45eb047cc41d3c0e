"""TensorFlow Lite's interpreter: opened here only after a process of its own has survived the file."""

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
# Opens a file as ``opened`` does, and asks it zeros, with one and with two of whatever is open. What raises is left to
# whoever opens it next: only what ends a process is to be found out.
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
    """What a file holds its weights in, where that is not float32 alone."""

    quantized: bool
    halves: bool


def tried(path: Path) -> Numbers:
    """Open and ask a file in a process of its own, and return what was found; SourceError where it ends the process.

    LiteRT checks how the tables of a file hang together, but not all that stands in them: XNNPACK ends with a
    segmentation fault on scales and zero points that make no sense.
    """
    command = [sys.executable, "-P", "-c", TRIAL, str(path)]  # -P: not the modules of the user's folder
    try:
        finished = process.run(command, timeout=TRIAL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"{path} is not answered by TensorFlow Lite in {TRIAL_SECONDS} s", AGAIN) from error
    if finished.code < 0:
        name = signal.Signals(-finished.code).name
        raise SourceError(f"{path} is damaged: TensorFlow Lite's interpreter crashes on it with {name}", AGAIN)
    if finished.code:
        raise SourceError(f"TensorFlow Lite's interpreter can't be tried: {finished.last_words}")
    return Numbers(**json.loads(finished.out))


def opened(path: Path, numbers: Numbers) -> Any:
    """Return the interpreter of a file that was tried, ready to be asked; SourceError where it refuses the file.

    XNNPACK holds a copy of the weights, arranged as it wants them, and only what is quantized is given to it: it rounds
    as ONNX Runtime does, and the operators of the interpreter's own do not.
    """
    tensorflow()  # before what brings parts of it
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
    """Make whatever is raised a SourceError that a file can't be opened: all that it tells is read from it as it is."""
    try:
        with quiet(), unheard():
            yield
    except Exception as error:  # ValueError or RuntimeError with what C++ says, and more for names that are no text
        raise SourceError(f"{path} can't be opened: {cause(error).rstrip('.')}", AGAIN) from error
