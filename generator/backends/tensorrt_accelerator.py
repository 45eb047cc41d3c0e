"""ONNX Runtime with its TensorRT accelerator: the verified ONNX model, and engines that the server builds by itself.

The engines are built when a model is loaded, on the GPU that serves it, and kept in a cache that the server can write.
"""

from modelrepo.generator.backends import onnxruntime
from modelrepo.generator.backends.backend import Backend
from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.artifacts import Serving, Settings
from modelrepo.generator.specs.options import Instances
from modelrepo.generator.tensorrt import profiles
from modelrepo.generator.triton.releases import release_named

# Where the server keeps what it built: below its only writable folder in docker-compose.yml. Mount a volume there to
# keep engines over restarts.
CACHE = "/tmp/tensorrt-engines"  # noqa: S108 - in the serving container
WORKSPACE_BYTES = 4 << 30
BUILDER_OPTIMIZATION_LEVEL = 3
# TensorRT 10 needs the builder's leave for what the graph says; 11 has no such flags.
PRECISION_MODES = {"fp16": "FP16", "bf16": "BF16", "int8": "INT8"}
FIRST_WITH_BF16 = "26.02"


def settings(serving: Serving) -> Settings:
    """Return ONNX Runtime's settings with the accelerator's: the names are those that Triton's backend knows.

    It refuses a model whose accelerator has an unknown one (github.com/triton-inference-server/onnxruntime_backend).
    """
    # Parts of the graph that TensorRT does not take are left to ONNX Runtime's CUDA kernels.
    options, precision = serving.options, serving.precision
    derived = profiles.wanted(serving)
    accelerator = {
        "max_workspace_size_bytes": str(WORKSPACE_BYTES),
        "trt_builder_optimization_level": str(BUILDER_OPTIMIZATION_LEVEL),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": f"{CACHE}/{serving.name}",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": CACHE,
    }
    if options.prune is not None and options.prune.structured:
        accelerator["trt_sparsity_enable"] = "1"
    release = release_named(options.target_release)
    if precision in PRECISION_MODES and (release.tensorrt or "").startswith("10."):
        if precision == "bf16" and release.container < FIRST_WITH_BF16:
            raise OptionError(
                f"Triton {release.container} has no BF16 in ONNX Runtime's TensorRT accelerator",
                f"Name a --target-release from {FIRST_WITH_BF16} on, or --backends tensorrt:bf16",
            )
        accelerator["precision_mode"] = PRECISION_MODES[precision]
    for position, bound in enumerate(("min", "opt", "max")):
        if derived:
            accelerator[f"trt_profile_{bound}_shapes"] = ",".join(profile.written(position) for profile in derived)
    return Settings(
        parameters=onnxruntime.PARAMETERS,
        graph_level=onnxruntime.GRAPH_LEVEL,
        accelerator=accelerator,
        sizes=profiles.smallest(serving.signature, derived),
    )


BACKEND = Backend(
    triton_name=onnxruntime.TRITON_NAME,
    precisions=("fp32", "fp16", "bf16", "int8"),
    settings=settings,
    build=onnxruntime.build,
    instances=Instances("KIND_GPU", 1),
    options=("profiles",),
    preferred_batch_sizes=profiles.preferred_batch_sizes,
    optional_inputs=True,
    read_by_tensorrt=True,
)
