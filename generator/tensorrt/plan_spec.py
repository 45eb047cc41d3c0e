"""The specification of a TensorRT plan, and the command that builds it. No side effects."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelrepo.generator.specs.documents import check_kinds
from modelrepo.generator.tensorrt.answers import decisive
from modelrepo.generator.tensorrt.profiles import Profile

if TYPE_CHECKING:
    from modelrepo.generator.tensorrt.machine import Gpu

# In NVIDIA's Triton images trtexec is not on PATH.
TRTEXEC = "T=$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)"
WORKSPACE_MIB = 4096
# TensorRT's own default; 4 and 5 take longer.
OPTIMIZATION_LEVEL = 3
# Names in the folder that is built in.
# The row of BACKENDS that plans are of, as manifests name it.
BACKEND = "tensorrt"
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8")
ONNX = "model.onnx"
PLAN = "model.plan"
UNFINISHED = "model.plan.tmp"
TIMING_CACHE = "timing.cache"

# The type that each plain field of a PlanSpec has in JSON.
PLAIN: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("release", "image", "precision"), str),
    "tensorrt": (str, type(None)),
    **dict.fromkeys(("version_compatible", "sparse"), bool),
    **dict.fromkeys(("workspace_mib", "optimization_level"), int),
}


@dataclass(frozen=True)
class PlanSpec:
    """Everything that decides a plan's content, except the GPU and the TensorRT that build it."""

    release: str  # of Triton
    image: str  # that serves the plan
    tensorrt: str | None  # the version in ``image``, as far as it is known ("10.16")
    precision: str
    profiles: tuple[Profile, ...]
    version_compatible: bool
    workspace_mib: int
    optimization_level: int
    sparse: bool  # the builder may use that 2 of every 4 weights are 0
    onnx: Mapping[str, str]  # files of the typed ONNX model, model.onnx first -> SHA-256 (hex)
    tools: Mapping[str, str]  # versions of the packages that made it

    def to_json(self) -> dict[str, Any]:
        """Return the spec as JSON values; ``PlanSpec.of`` reads them."""
        shapes = [{name: [list(shape) for shape in each] for name, each in p.shapes.items()} for p in self.profiles]
        own = {name: value for name, value in vars(self).items() if name != "profiles"}
        return {**own, "profiles": shapes, "onnx": dict(self.onnx), "tools": dict(self.tools)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "PlanSpec":
        """Read the result of ``to_json``; other keys are ignored.

        KeyError, TypeError, ValueError or AttributeError if it is damaged.
        """
        known = {name: document[name] for name in cls.__dataclass_fields__}
        check_kinds(known, **PLAIN)
        if known["precision"] not in PRECISIONS:
            raise ValueError(f"precision is {known['precision']!r}")
        profiles = tuple(
            Profile({name: _bounds(shapes) for name, shapes in each.items()}) for each in known["profiles"]
        )
        return cls(**{**known, "profiles": profiles, "onnx": dict(known["onnx"]), "tools": dict(known["tools"])})


def _bounds(shapes: list[list[int]]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    if len(shapes) != 3 or any(not isinstance(size, int) for shape in shapes for size in shape):
        raise TypeError("a profile has three shapes of whole numbers for each input")
    smallest, tuned, largest = (tuple(shape) for shape in shapes)
    return smallest, tuned, largest


def trtexec_arguments(spec: PlanSpec) -> list[str]:
    """Return trtexec's arguments, for a folder with the ONNX model.

    With several profiles, --profile=N comes before the shapes of each (samples/common/sampleOptions.cpp of
    github.com/NVIDIA/TensorRT). The strongly typed graph decides the precision: TensorRT 11 has no flags for it.
    """
    shapes = [
        flag
        for number, profile in enumerate(spec.profiles)
        for flag in (
            *([f"--profile={number}"] if len(spec.profiles) > 1 else []),
            *(f"--{bound}Shapes={profile.written(position)}" for position, bound in enumerate(("min", "opt", "max"))),
        )
    ]
    return [
        f"--onnx={ONNX}",
        f"--saveEngine={UNFINISHED}",
        "--stronglyTyped",
        "--skipInference",
        *shapes,
        *(["--versionCompatible"] if spec.version_compatible else []),
        f"--memPoolSize=workspace:{spec.workspace_mib}",
        f"--timingCacheFile={TIMING_CACHE}",
        f"--builderOptimizationLevel={spec.optimization_level}",
        *(["--sparsity=enable"] if spec.sparse else []),
        "--profilingVerbosity=layer_names_only",
    ]


def inputs_of(spec: PlanSpec) -> dict[str, Any]:
    """Return the ``inputs`` of an entry of plans.lock: the spec, and trtexec's arguments."""
    return {**spec.to_json(), "trtexec": trtexec_arguments(spec)}


def in_container(image: str, folder: Path, device: int, script: str) -> list[str]:
    """Return the command that runs a shell script in an image, in ``folder``, with one GPU and without network."""
    return [
        *("docker", "run", "--rm", "--gpus", f"device={device}", "--network", "none"),
        *("-v", f"{folder.absolute()}:/w", "-w", "/w", image, "sh", "-c", script),
    ]


def container_command(spec: PlanSpec, folder: Path, device: int = 0) -> list[str]:
    """Return the command that builds the plan in the serving image; ``model.plan`` appears in ``folder`` when done."""
    flags = shlex.join(trtexec_arguments(spec))
    return in_container(spec.image, folder, device, f'{TRTEXEC}; "$T" {flags} && mv {UNFINISHED} {PLAN}')


def cache_key(spec: PlanSpec, gpu: "Gpu", tensorrt_version: str) -> str:
    """Return the SHA-256 (hex) of everything that decides a plan's bytes: the spec, the GPU, the full TensorRT version.

    All of it is named: the integers of TensorRT's enumerations changed between 10 and 11.
    """
    document = {
        **decisive(inputs_of(spec)),
        "built_by": tensorrt_version,
        "gpu": gpu.name,
        "compute_capability": gpu.compute_capability,
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
