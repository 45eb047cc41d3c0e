"""Helpers for the tests of TensorRT plans: specs, headers, and scripts that stand in for programs."""

import os
import stat
import struct
from pathlib import Path

import pytest

from modelrepo.generator.specs.tensors import Signature, TensorSpec
from modelrepo.generator.tensorrt.machine import Gpu
from modelrepo.generator.tensorrt.plan_spec import PlanSpec
from modelrepo.generator.tensorrt.profiles import Profile
from modelrepo.generator.triton.releases import RELEASES

L4 = Gpu(0, "NVIDIA L4", "8.9", "580.95.05", "GPU-4a1e")
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
        "sparse": False,
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
