"""What each Triton release reads: the bounds of the ONNX models that are written for it."""

from dataclasses import dataclass

from generator.errors import OptionError


@dataclass(frozen=True)
class Release:
    """One monthly release of the Triton container.

    ``max_opset`` and ``max_ir`` are the newest ONNX operator set and file format version that its ONNX Runtime opens
    without a warning of being under development.
    """

    container: str
    triton: str
    onnxruntime: str
    max_opset: int
    max_ir: int

    @property
    def image(self) -> str:
        """The container image that serves this release."""
        return f"nvcr.io/nvidia/tritonserver:{self.container}-py3"


# Container, Triton and ONNX Runtime versions: NVIDIA's release notes. The two bounds: a one-node model of every opset
# and IR version, opened with the PyPI wheel of that ONNX Runtime (measured 2026-11-20).
RELEASES: dict[str, Release] = {
    release.container: release
    for release in (
        Release("26.08", "2.72", "1.28.0", max_opset=26, max_ir=13),
        Release("26.07", "2.71", "1.27.0", max_opset=26, max_ir=13),
        Release("26.06", "2.70", "1.24.4", max_opset=25, max_ir=13),
        Release("26.05", "2.69", "1.24.4", max_opset=25, max_ir=13),
        Release("26.04", "2.68", "1.24.4", max_opset=25, max_ir=13),
        Release("26.03", "2.67", "1.24.2", max_opset=25, max_ir=13),
        Release("26.02", "2.66", "1.24.1", max_opset=25, max_ir=13),
        Release("26.01", "2.65", "1.23.2", max_opset=23, max_ir=11),
        Release("25.12", "2.64", "1.23.2", max_opset=23, max_ir=11),
        Release("25.11", "2.63", "1.23.2", max_opset=23, max_ir=11),
        Release("24.10", "2.51", "1.19.2", max_opset=21, max_ir=10),
    )
}
NEWEST = next(iter(RELEASES))


def release_named(container: str) -> Release:
    """Return the release with this container version; OptionError names the known ones."""
    try:
        return RELEASES[container]
    except KeyError:
        raise OptionError(f"unknown target release {container!r}", f"Known releases: {', '.join(RELEASES)}") from None
