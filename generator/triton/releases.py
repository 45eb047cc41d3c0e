"""The Triton releases, and the ONNX models that each can read."""

from dataclasses import dataclass

from modelrepo.generator.errors import OptionError


@dataclass(frozen=True)
class Release:
    """One monthly release of the Triton container.

    ``max_opset`` and ``max_ir`` are the newest that its ONNX Runtime opens without a warning.
    """

    container: str  # YY.MM
    triton: str
    onnxruntime: str
    tensorrt: str  # only a hint: the image is queried, or the plan's header read, before anything depends on it
    cuda: str  # decides the driver that the image needs
    max_opset: int  # the newest ONNX operator set
    max_ir: int  # the newest version of ONNX's file format

    @property
    def min_driver(self) -> int:
        """The oldest branch of NVIDIA's driver that runs the image with CUDA's minor version compatibility.

        On data center GPUs older drivers may work with the forward compatibility package in the image
        (docs.nvidia.com/deploy/cuda-compatibility).
        """
        return {"12": 525, "13": 580}[self.cuda.partition(".")[0]]

    @property
    def image(self) -> str:
        """The container image that serves this release."""
        return f"nvcr.io/nvidia/tritonserver:{self.container}-py3"


# Container, Triton, ONNX Runtime and CUDA versions are from NVIDIA's release notes. TensorRT's are from third-party
# reports, as far as these agree; images up to 26.05 have TensorRT 10, later ones 11. The two bounds were measured with
# a one-node model of every opset and IR version, and the PyPI wheel of that ONNX Runtime (2026-11-20).
RELEASES: dict[str, Release] = {
    release.container: release
    for release in (
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
}
NEWEST = next(iter(RELEASES))


def release_named(container: str) -> Release:
    """Return the release with this container version; OptionError names the known ones."""
    try:
        return RELEASES[container]
    except KeyError:
        raise OptionError(f"unknown target release {container!r}", f"Known releases: {', '.join(RELEASES)}") from None
