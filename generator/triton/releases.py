"""The Triton releases, and the ONNX models that each can read."""

from dataclasses import dataclass, replace

from modelrepo.generator.errors import OptionError


@dataclass(frozen=True)
class Release:
    """One monthly release of the Triton container; a version is None if it is not known.

    ``max_opset`` and ``max_ir`` are the newest that its ONNX Runtime opens without a warning. If that is not known,
    they are those of ``bounds_of``, the newest release below it whose ONNX Runtime is.
    """

    container: str  # YY.MM
    triton: str
    onnxruntime: str | None
    tensorrt: str | None  # only a hint: the image is queried, or the plan's header read, before anything depends on it
    cuda: str | None  # decides the driver that the image needs
    max_opset: int  # the newest ONNX operator set
    max_ir: int  # the newest version of ONNX's file format
    bounds_of: str = ""  # a container; empty for its own bounds

    @property
    def min_driver(self) -> int:
        """The oldest branch of NVIDIA's driver that runs the image with CUDA's minor version compatibility.

        On data center GPUs older drivers may work with the forward compatibility package in the image
        (docs.nvidia.com/deploy/cuda-compatibility). An image with an unknown CUDA needs at least what others of CUDA 13
        need.
        """
        return {"12": 525, "13": 580}[(self.cuda or "13").partition(".")[0]]

    @property
    def image(self) -> str:
        """The container image that serves this release."""
        return f"nvcr.io/nvidia/tritonserver:{self.container}-py3"

    @property
    def limits(self) -> str:
        """Return what it reads, as a sentence."""
        reads = f"reads up to opset {self.max_opset} and IR {self.max_ir}"
        if self.onnxruntime:
            return f"Triton {self.container} {reads}"
        return f"the ONNX Runtime of Triton {self.container} is not known, that of {self.bounds_of} {reads}"

    @property
    def cautions(self) -> tuple[str, ...]:
        """What a model for this release relies on without knowing it."""
        if self.onnxruntime:
            return ()
        return (
            f"the ONNX Runtime of Triton {self.container} is not known: opset and IR are limited to those of "
            f"{self.bounds_of} ({self.max_opset} and {self.max_ir})",
        )


def _unmeasured(container: str, triton: str, newest: Release) -> Release:
    """Return a release of which only Triton's version is known."""
    known = replace(newest, container=container, triton=triton, bounds_of=newest.container)
    return replace(known, onnxruntime=None, tensorrt=None, cuda=None)


# Container, Triton, ONNX Runtime and CUDA versions are from NVIDIA's release notes. TensorRT's are from third-party
# reports, as far as these agree; images up to 26.05 have TensorRT 10, later ones 11. The two bounds were measured with
# a one-node model of every opset and IR version, and the PyPI wheel of that ONNX Runtime (2026-11-20; 1.30.0 on
# 2026-11-30).
_KNOWN = (
    Release("26.09", "2.73", "1.30.0", None, None, max_opset=26, max_ir=13),
    Release("26.08", "2.72", "1.28.0", "11.2.1", "13.4.1", max_opset=26, max_ir=13),
    Release("26.07", "2.71", "1.27.0", "11.1", "13.3.0", max_opset=26, max_ir=13),
    Release("26.06", "2.70", "1.24.4", "11.0", "13.3.0", max_opset=25, max_ir=13),
    Release("26.05", "2.69", "1.24.4", "10.x", "13.2.1", max_opset=25, max_ir=13),
    Release("26.04", "2.68", "1.24.4", "10.16.1", "13.2.1", max_opset=25, max_ir=13),
    Release("26.03", "2.67", "1.24.2", "10.16", "13.2.0", max_opset=25, max_ir=13),
    Release("26.02", "2.66", "1.24.1", "10.15.1", "13.1.1", max_opset=25, max_ir=13),
    Release("26.01", "2.65", "1.23.2", "10.x", "13.1.1", max_opset=23, max_ir=11),
    Release("25.12", "2.64", "1.23.2", "10.14.1", "13.1.0", max_opset=23, max_ir=11),
    Release("25.11", "2.63", "1.23.2", "10.14.1", "13.0.2", max_opset=23, max_ir=11),
    Release("24.10", "2.51", "1.19.2", "10.5", "12.6.2", max_opset=21, max_ir=10),
)
# The default: the newest whose ONNX Runtime is known.
NEWEST = _KNOWN[0].container
RELEASES: dict[str, Release] = {
    release.container: release
    for release in (_unmeasured("26.11", "2.75", _KNOWN[0]), _unmeasured("26.10", "2.74", _KNOWN[0]), *_KNOWN)
}


def release_named(container: str) -> Release:
    """Return the release with this container version; OptionError names the known ones."""
    try:
        return RELEASES[container]
    except KeyError:
        raise OptionError(f"unknown target release {container!r}", f"Known releases: {', '.join(RELEASES)}") from None
