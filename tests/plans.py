"""What the tests of TensorRT plans share: specs, headers, and stand-ins for the programs of a GPU host."""

import os
import stat
import struct
import sys
from pathlib import Path

import pytest

from generator.backends.tensorrt.machine import Gpu
from generator.backends.tensorrt.plan_spec import PlanSpec
from generator.backends.tensorrt.profiles import Profile
from generator.releases import RELEASES
from generator.specs import Signature, TensorSpec

L4 = Gpu(0, "NVIDIA L4", "8.9", 23034, "580.95.05")
X, Y = TensorSpec("x", "float32", ("batch", 4)), TensorSpec("y", "float32", ("batch", 4))
SIGNATURE = Signature((X,), (Y,))
BATCH = Profile({"x": ((1, 4), (2, 4), (4, 4))})


def spec(release: str = "25.12", profiles: tuple[Profile, ...] = (BATCH,), **changed: object) -> PlanSpec:
    known = RELEASES[release]
    parts = {
        "release": release,
        "image": known.image,
        "tensorrt": known.tensorrt,
        "precision": "fp32",
        "profiles": profiles,
        "version_compatible": False,
        "workspace_mib": 1024,
        "optimization_level": 3,
        "onnx": {"model.onnx": "0" * 64},
        "tools": {"onnx": "1.23.2"},
    }
    return PlanSpec(**{**parts, **changed})  # type: ignore[arg-type]


def header(*version: int) -> bytes:
    """Return the first 28 bytes of a plan, as TensorRT writes them."""
    return struct.pack("<II", 0x74727466, 0) + bytes(16) + bytes(version)


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)


def stand_in(name: str, script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a shell script of this name first on PATH."""
    program(folder / "stand-ins" / name, f"#!/bin/sh\n{script}")
    monkeypatch.setenv("PATH", f"{folder / 'stand-ins'}:{os.environ['PATH']}")


def stand_in_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Let nvidia-smi name these GPUs, each as index, name, compute capability, MiB and driver."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    told = "\n".join(lines or ("0, NVIDIA L4, 8.9, 23034, 580.95.05",))
    stand_in("nvidia-smi", f"cat <<'END'\n{told}\nEND\n", folder, monkeypatch)


def stand_in_docker(folder: Path, monkeypatch: pytest.MonkeyPatch, trtexec: str = "") -> None:
    """Run containers without docker: the script of one in its folder, with a stand-in for trtexec.

    What ``trtexec`` builds is a header of TensorRT 10.14.1.48 and the ONNX model, and ONNX Runtime runs it.
    """
    program(folder / "image" / "trtexec", f"#!/bin/sh\n{trtexec or STAND_IN_TRTEXEC}")
    program(folder / "image" / "trtexec.py", TRTEXEC_PY)
    stand_in("docker", DOCKER.replace("IMAGE", str(folder / "image")), folder, monkeypatch)


DOCKER = """
echo "$@" >> "IMAGE/../asked"
case "$1 $*" in
  info*) echo '{"Runtimes": {"runc": {}, "nvidia": {}}}' ;;
  image*) echo sha256:stand-in ;;
  rm*) ;;
  run*dpkg-query*) printf 'libnvinfer10\\t10.14.1.48-1+cuda13.0\\nlibnvinfer-bin\\t10.14.1.48-1+cuda13.0\\n' ;;
  run*)
    while [ $# -gt 3 ]; do [ "$1" = -v ] && mounted="${2%:/w}"; shift; done
    cd "$mounted" && PATH="IMAGE:$PATH" exec sh -c "$3" ;;
esac
"""
STAND_IN_TRTEXEC = f'exec {sys.executable} "$(dirname "$0")/trtexec.py" "$@"\n'
TRTEXEC_PY = """
import json, sys
import numpy as np, onnxruntime
HEADER = b"ftrt" + bytes(20) + bytes((10, 14, 1, 48))
flags = dict(word.partition("=")[::2] for word in sys.argv[1:])
assert not {"--fp16", "--bf16", "--int8", "--best"} & set(flags)
if "--saveEngine" in flags:
    print("[11/21/2026-10:00:00] [I] Building engine")
    open(flags["--timingCacheFile"], "a").close()
    with open(flags["--saveEngine"], "wb") as plan:
        plan.write(HEADER + open(flags["--onnx"], "rb").read())
else:
    session = onnxruntime.InferenceSession(open(flags["--loadEngine"], "rb").read()[len(HEADER):])
    files = dict(pair.split(":") for pair in flags["--loadInputs"].split(","))
    shapes = dict(pair.split(":") for pair in flags["--shapes"].split(","))
    inputs = {name: np.fromfile(file, "float32").reshape([*map(int, shapes[name].split("x"))])
              for name, file in files.items()}
    names = [output.name for output in session.get_outputs()]
    answers = [{"name": name, "dimensions": "x".join(map(str, array.shape)), "values": array.ravel().tolist()}
               for name, array in zip(names, session.run(names, inputs))]
    json.dump(answers, open(flags["--exportOutput"], "w"))
"""
