"""TensorRT plans: prepared here, built in the container that will serve them.

A plan belongs to one TensorRT version and one GPU architecture, so it is built where it is served. This module
prepares the verified ONNX model and the exact command; it does not build, and says so.
"""

import shlex
from pathlib import Path

from generator.specs import Artifact, Deferred, Instances, Order, TensorSpec

TRITON_NAME = "tensorrt"
# TensorRT runs on GPUs only.
INSTANCES = Instances("KIND_GPU", 1)
GRAPH_LEVEL = None
PARAMETERS: dict[str, str] = {}

# trtexec's place in NVIDIA's Triton images, where it is not on PATH.
TRTEXEC = "T=$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)"
WORKSPACE_MIB = 4096
BUILDER_OPTIMIZATION_LEVEL = 3


def preferred_batch_sizes(max_batch_size: int) -> tuple[int, ...]:
    """Return the size the plan's profile is tuned for: half the largest batch."""
    return (max(1, max_batch_size // 2),) if max_batch_size else ()


def build(order: Order) -> Artifact | Deferred:
    """Return the command that builds the plan in the serving container, and what decides the plan's content."""
    flags = _flags(order)
    script = f'{TRTEXEC}; "$T" {" ".join(flags)} && mv model.plan.tmp model.plan'
    command = [
        *("docker", "run", "--rm", "--gpus", "device=0", "--network", "none"),
        *("-v", f"{order.folder.absolute()}:/w", "-w", "/w", order.release.image, "sh", "-c", script),
    ]
    reason = "plan building needs the GPU that will serve it"
    if not gpu_present():
        reason = f"no CUDA device on this machine, and {reason}"
    return Deferred(reason, shlex.join(command), {"image": order.release.image, "trtexec": flags})


def gpu_present() -> bool:
    """Tell whether NVIDIA's kernel driver offers a device (natively, or through WSL)."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


def _flags(order: Order) -> list[str]:
    preferred = max(order.preferred_batch_sizes, default=1)
    sizes = {"min": 1, "opt": preferred, "max": max(order.max_batch_size, 1)}
    dynamic = [spec for spec in order.export.signature.inputs if any(isinstance(dim, str) for dim in spec.shape)]
    profile = [
        f"--{bound}Shapes={','.join(_profile_shape(spec, size) for spec in dynamic)}"
        for bound, size in sizes.items()
        if dynamic
    ]
    return [
        f"--onnx={order.export.path.name}",
        "--saveEngine=model.plan.tmp",
        "--stronglyTyped",
        "--skipInference",
        *profile,
        f"--memPoolSize=workspace:{WORKSPACE_MIB}",
        "--timingCacheFile=timing.cache",
        f"--builderOptimizationLevel={BUILDER_OPTIMIZATION_LEVEL}",
        "--profilingVerbosity=layer_names_only",
    ]


def _profile_shape(spec: TensorSpec, size: int) -> str:
    symbols = {dim: size for dim in spec.shape if isinstance(dim, str)}
    return f"{spec.name}:{'x'.join(map(str, spec.sized(symbols)))}"
