"""A stand-in for trtexec: see tests/stand_ins/__init__.py. It notes each call in the file STAND_IN_CALLS, if set."""

import json
import os
import signal
import struct
import sys
from pathlib import Path
from typing import Any

VERSION = tuple(map(int, os.environ.get("STAND_IN_TENSORRT", "11.2.1.0").split(".")))
HEADER = struct.pack("<II", 0x74727466, 0).ljust(24, b"\0") + bytes(VERSION)
TIME = "[11/21/2026-14:00:00]"
FAILURE = os.environ.get("STAND_IN", "")
TYPES = {"tensor(float)": "<f4", "tensor(float16)": "<f2", "tensor(int64)": "<i8", "tensor(int32)": "<i4"}


def flags(words: list[str]) -> dict[str, str]:
    pairs = (word.removeprefix("--").partition("=") for word in words)
    return {name: value for name, _, value in pairs}


def named(value: str) -> dict[str, str]:
    return dict(each.rsplit(":", 1) for each in value.split(",") if each)


def build(asked: dict[str, str]) -> int:
    if FAILURE == "memory":
        print(f"{TIME} [E] Error[2]: [resizingAllocator.cpp::allocate::78] Error Code 2: OutOfMemory (Requested size "
              "was 4294967296 bytes.)", file=sys.stderr)  # fmt: skip
        return 1
    if FAILURE == "operator":
        print(f'{TIME} [E] [TRT] ModelImporter.cpp:949: While parsing node number 3 [Odd -> "/head/Odd_output_0"]:\n'
              f"{TIME} [E] [TRT] ModelImporter.cpp:955: ERROR: onnxOpImporters.cpp:6521 In function importFallback"
              "PluginImporter: [8] Assertion failed: creator: Plugin not found", file=sys.stderr)  # fmt: skip
        return 1
    target = Path(asked["saveEngine"])
    target.write_bytes(HEADER)
    if FAILURE == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    target.write_bytes(HEADER + Path(asked["onnx"]).read_bytes())
    if "timingCacheFile" in asked:
        Path(asked["timingCacheFile"]).write_text("learnt")
    return 0


def run(asked: dict[str, str]) -> int:
    if FAILURE == "refused":
        print(f"{TIME} [E] Error[6]: The engine plan file is generated on an incompatible device, expecting compute "
              "9.0 got compute 8.9, please rebuild.", file=sys.stderr)  # fmt: skip
        return 1
    import numpy as np  # here, because building needs neither, and is to be fast
    import onnxruntime

    plan = Path(asked["loadEngine"]).read_bytes()
    assert plan.startswith(HEADER[:24])
    session = onnxruntime.InferenceSession(plan[len(HEADER) :], providers=["CPUExecutionProvider"])
    shapes, files = named(asked.get("shapes", "")), named(asked["loadInputs"])
    inputs = {}
    for spec in session.get_inputs():
        fixed = "x".join(map(str, spec.shape))
        shape = [int(size) for size in shapes.get(spec.name, fixed).split("x") if size]
        inputs[spec.name] = np.fromfile(files[spec.name], TYPES[spec.type]).reshape(shape)
    names = [output.name for output in session.get_outputs()]
    answers = dict(zip(names, session.run(names, inputs), strict=True))
    if FAILURE != "silent":
        Path(asked["exportOutput"]).write_text(exported(answers))
    return 0


def exported(answers: dict[str, Any]) -> str:
    """Return answers as trtexec writes them: six digits, nan in words of its own."""
    parts = []
    for name, answer in answers.items():
        values = [f"{value:.6g}" if answer.dtype.kind == "f" else str(int(value)) for value in answer.ravel()]
        if FAILURE == "wrong":
            values[-1] = f"{float(values[-1]) + 100:.6g}"
        if FAILURE == "nan":
            values[0] = "-nan"
        shape = "x".join(map(str, answer.shape))
        parts.append(f'{{ "name" : {json.dumps(name)}\n  , "dimensions" : "{shape}"\n  , "values" : '
                     f"[ {', '.join(values)} ]\n  }}\n")  # fmt: skip
    return "[\n  " + ", ".join(parts) + "]\n"


def main() -> int:
    if os.environ.get("STAND_IN_CALLS"):
        with Path(os.environ["STAND_IN_CALLS"]).open("a") as calls:
            calls.write(f"{' '.join(sys.argv[1:])}\n")
    asked = flags(sys.argv[1:])
    return run(asked) if "loadEngine" in asked else build(asked)


sys.exit(main())
