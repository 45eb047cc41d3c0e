"""Shared parts of the TensorFlow sources, and TensorFlow and Keras themselves: imported late, silently, for the CPU.

``declared`` describes the inputs of a model, ``function`` runs it, and ``layers`` does both for Keras models; ``lite``
opens TensorFlow Lite's interpreter.
"""

import importlib
import os
import re
import sys
from importlib.util import find_spec
from typing import Any

from modelrepo.generator.errors import SourceError
from modelrepo.generator.system.extras import TENSORFLOW, need
from modelrepo.generator.system.quiet import unheard

# The hint for a file that Keras or TensorFlow can't read.
IN_CODE = "Save it again with the version that is installed here, or load it in code: --model python:MODULE:FACTORY"
# Lines in which TensorFlow says where an error was raised.
WHERE = re.compile(
    r"Graph execution error|Detected at node|Exception encountered|Arguments received|File \"|\[\[|<stack|Stack trace"
)


def tensorflow() -> Any:
    """Import TensorFlow, silently and for the CPU alone; SourceError if it is missing."""
    if "tensorflow" in sys.modules:
        return need("tensorflow", TENSORFLOW)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # oneDNN's allocator keeps all memory that it once had: VGG16 took 1.4 GB after loading, and 0.6 GB without it.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    if find_spec("triton"):  # torch's compiler: its LLVM aborts the process if TensorFlow's is loaded first
        importlib.import_module("triton")
    with unheard():
        module = need("tensorflow", TENSORFLOW)
        module.config.set_visible_devices([], "GPU")
        module.constant(0)  # starts the runtime, which prints its messages about the machine now
    return module


def keras() -> Any:
    """Import Keras on TensorFlow; SourceError if it is missing, or runs on another backend already."""
    tensorflow()
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
    module = need("keras", TENSORFLOW)
    if module.backend.backend() != "tensorflow":
        raise SourceError(
            f"Keras runs on {module.backend.backend()} here, and only Keras on TensorFlow can be exported",
            "Set KERAS_BACKEND=tensorflow",
        )
    return module


def cause(error: BaseException) -> str:
    """Return an error in one line; TensorFlow puts the places that it comes from before the message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = [line for line in lines if not WHERE.match(line)]
    return f"{type(error).__name__}: {own[0].rstrip('.:') if own else ''}"
