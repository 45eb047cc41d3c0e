"""TensorFlow and Keras themselves: imported late, silently, and for the CPU alone; and what their errors say.

What is shared by the sources whose models are of TensorFlow: ``declared`` says what a model is asked, ``function`` asks
it, and ``layers`` does both for Keras models.
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

# What to do with a file that Keras or TensorFlow does not read.
IN_CODE = "Save it again with the version that is here, or load it in code: --model python:MODULE:FACTORY"
# Lines in which TensorFlow says where an error was raised.
WHERE = re.compile(
    r"Graph execution error|Detected at node|Exception encountered|Arguments received|File \"|\[\[|<stack|Stack trace"
)


def tensorflow() -> Any:
    """Import TensorFlow, silently and for the CPU alone; SourceError where it is missing."""
    if "tensorflow" in sys.modules:
        return need("tensorflow", TENSORFLOW)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # What oneDNN's allocator has had once, it keeps: VGG16 took 1.4 GB after loading, and 0.6 GB without it.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    if find_spec("triton"):  # torch's compiler: its LLVM aborts the process where TensorFlow has brought its own before
        importlib.import_module("triton")
    with unheard():
        module = need("tensorflow", TENSORFLOW)
        module.config.set_visible_devices([], "GPU")
        module.constant(0)  # what the runtime has to say about the machine, it says when it starts
    return module


def keras() -> Any:
    """Import Keras on TensorFlow; SourceError where it runs on another backend already, or is missing."""
    tensorflow()
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
    module = need("keras", TENSORFLOW)
    if module.backend.backend() != "tensorflow":
        raise SourceError(
            f"Keras runs on {module.backend.backend()} here, and only what it runs on TensorFlow can be exported",
            "Set KERAS_BACKEND=tensorflow",
        )
    return module


def cause(error: BaseException) -> str:
    """Return what an error says in one line; TensorFlow puts where it comes from before what it is."""
    told = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = [line for line in told if not WHERE.match(line)]
    return f"{type(error).__name__}: {own[0].rstrip('.:') if own else ''}"
