"""The header of a plan file, which says which TensorRT built it."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.tensorrt.answers import MAGIC, VERSION_AT
from modelrepo.generator.tensorrt.plan_spec import PlanSpec

SIZE = VERSION_AT + 4
RTX = b"vtrt"
# The bytes of a length: some tools write it and JSON before the plan, which Triton can't read.
PREFIX = 4
# How the TensorRT of a plan compares with another; unknown, too, if they are equal as far as only "10.x" tells.
Comparison: TypeAlias = Literal["same", "newer", "older", "unknown"]


@dataclass(frozen=True)
class PlanHeader:
    """The header of a plan."""

    tensorrt: tuple[int, int, int, int]  # the version that built it: major, minor, patch, build

    @property
    def version(self) -> str:
        """The TensorRT version as text."""
        return ".".join(map(str, self.tensorrt))


def read(path: Path) -> PlanHeader:
    """Read a plan's header; ConversionError if the file is not a plan, with what it is instead."""
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise ConversionError(f"{path} is empty", "The build was interrupted: build the plan again")
    if head[:4] == RTX:
        raise ConversionError(
            f"{path} is a plan of TensorRT-RTX, which Triton doesn't load", "Build it with TensorRT itself"
        )
    if _has_prefix(head):
        raise ConversionError(
            f"{path} has JSON metadata before the plan, as Ultralytics writes it; Triton doesn't load such files",
            "Export ONNX instead, and let modelrepo build the plan",
        )
    if struct.unpack_from("<I", head.ljust(4, b"\0"))[0] != MAGIC:
        raise ConversionError(f"{path} is not a TensorRT plan: it starts with {head[:4].hex(' ')}")
    if len(head) < SIZE:
        raise ConversionError(f"{path} is cut off after {len(head)} bytes", "Build the plan again")
    if struct.unpack_from("<I", head, 4)[0]:
        raise ConversionError(f"{path} is not a TensorRT plan of a known format: bytes 4 to 7 are {head[4:8].hex(' ')}")
    major, minor, patch, build = head[VERSION_AT:SIZE]
    if not major:
        raise ConversionError(f"{path} is damaged: it names no TensorRT that built it", "Build the plan again")
    return PlanHeader((major, minor, patch, build))


def _has_prefix(head: bytes) -> bool:
    """Whether the file starts with JSON, or with a length and JSON."""
    return head[:1] == b"{" or (len(head) > PREFIX and head[PREFIX : PREFIX + 1] == b"{")


def check(header: PlanHeader, spec: PlanSpec, image_tensorrt: str | None = None) -> None:
    """Raise ConversionError if the target image would not load the plan.

    ``image_tensorrt`` is the version that the image reported, if it was queried; otherwise the spec's hint counts, as
    far as it is known. A version compatible plan runs on the version that built it and on newer ones.
    """
    holds = image_tensorrt or spec.tensorrt
    wanted = version_numbers(holds)
    built = header.tensorrt[: len(wanted)]
    if built == wanted or (spec.version_compatible and built < wanted):
        return
    raise ConversionError(
        f"the plan was built by TensorRT {header.version}, but {spec.image} serves with {holds}",
        "Build it in that image: --plan-builder container"
        if built > wanted or spec.version_compatible
        else "Build it in that image, --plan-builder container, or with --version-compatible",
    )


def compared(header: PlanHeader, serving: str | None) -> Comparison:
    """Return how the TensorRT that built a plan compares with the one that shall run it, such as "10.16.1"."""
    wanted = version_numbers(serving)
    built = header.tensorrt[: len(wanted)]
    if built == wanted:
        return "same" if len(wanted) > 1 else "unknown"
    return "newer" if built > wanted else "older"


def version_numbers(version: str | None) -> tuple[int, ...]:
    """Return the first three numbers of a version, as far as they are known: (10,) for "10.x", () for None."""
    numbers = []
    for part in (version or "").split(".")[:3]:
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)
