"""Imported once, before processes are forked that share it: a third of what a small model takes is importing."""

import importlib
import os
from contextlib import suppress

# ONNX Runtime is none of them: it starts a thread on import, which a fork would not have.
FRAMEWORKS = (
    *("torch", "torchvision", "torch.onnx", "torch.export", "onnxscript", "timm", "transformers"),
    *("tensorflow", "keras", "tf2onnx", "sklearn", "skl2onnx"),
)

terminal, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
os.dup2(nothing, 2)  # TensorFlow tells how it was built, below Python and whatever its variables say
for name in FRAMEWORKS:
    with suppress(ImportError):  # its models say so themselves
        importlib.import_module(name)
os.dup2(terminal, 2)
os.close(terminal)
os.close(nothing)
