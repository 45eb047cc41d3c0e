"""OpenVINO's own format: model.xml, and the weights in the .bin file beside it."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

# A comma in a list of names that is part of a name has a backslash before it.
COMMA = re.compile(r"(?<!\\),")
# Versions of the format that OpenVINO reads since 2022 (src/frontends/ir).
FORMATS = ("10", "11")
# Larger texts are not read: the weights lie in another file.
MOST_BYTES = 64 << 20


class Unreadable(ValueError):
    """A file is not an OpenVINO model; the text says why."""


@dataclass(frozen=True)
class Value:
    """An input or output: its names, and for each dimension its least and largest size (None: no limit)."""

    names: tuple[str, ...]
    dims: tuple[tuple[int, int | None], ...] | None  # None: the rank is not known
    kind: str = ""  # as OpenVINO calls it: "FP32", "I64"

    @property
    def text(self) -> str:
        """The shape as Triton writes it."""
        return f"[{','.join(str(least) if least == most else '-1' for least, most in self.dims or ())}]"


@dataclass(frozen=True)
class OpenvinoFile:
    """What a model.xml says; ``fault`` says why nothing of it could be read."""

    inputs: tuple[Value, ...] = ()
    outputs: tuple[Value, ...] = ()
    weights: int = 0  # the bytes that the .bin file must have
    fault: str = ""


def read(path: Path) -> OpenvinoFile:
    """Read a model.xml. OSError if it can't be opened."""
    try:
        root = root_of(path)
        fault = fault_of_version(root)
        return OpenvinoFile(fault=fault) if fault else described(root)
    except Unreadable as error:
        return OpenvinoFile(fault=str(error))


def root_of(path: Path) -> Any:
    """Return the XML of a model; Unreadable if it is not OpenVINO's. OSError if it can't be opened."""
    size = path.stat().st_size
    if not size:
        raise Unreadable("it is empty")
    if size > MOST_BYTES:
        raise Unreadable(f"it has {size:,} bytes of XML, and {MOST_BYTES:,} are read")
    try:
        root = ElementTree.parse(path).getroot()  # noqa: S314 - expat limits how far entities expand
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # also an encoding that is not known
        raise Unreadable(f"it is not XML, or is truncated: {error}") from error
    if root.tag != "net":
        raise Unreadable(f"its XML is <{root.tag}>, not the <net> of OpenVINO")
    return root


def fault_of_version(root: Any) -> str:
    """Return why OpenVINO does not read the version of the format; empty if it does."""
    version = root.get("version")
    if version in FORMATS:
        return ""
    has = "names no version" if version is None else f"has version {version}"
    return f"it {has} of the format, and OpenVINO reads {' and '.join(FORMATS)}"


def described(root: Any) -> OpenvinoFile:
    """Return what the XML of a model says; Unreadable if it is damaged."""
    try:
        return _read(root)
    except (ValueError, LookupError, AttributeError, RecursionError) as error:
        raise Unreadable("it is not an OpenVINO model, or is damaged") from error


def _read(root: Any) -> OpenvinoFile:
    layers = root.findall("layers/layer")
    kinds = {layer.get("id"): layer.get("type") for layer in layers}
    ports = {(layer.get("id"), port.get("id")): port for layer in layers for port in layer.findall("output/port")}
    inputs = [_input(layer) for layer in layers if layer.get("type") == "Parameter"]
    edges = root.findall("edges/edge")
    results = [edge for edge in edges if kinds.get(edge.get("to-layer")) == "Result"]
    outputs = [value_of(ports[edge.get("from-layer"), edge.get("from-port")]) for edge in results]
    data = [each for layer in layers if layer.get("type") == "Const" for each in layer.findall("data")]
    ends = [int(each.get("offset", "0")) + int(each.get("size", "0")) for each in data]
    return OpenvinoFile(tuple(inputs), tuple(outputs), max(ends, default=0))


def _input(layer: Any) -> Value:
    """Return an input: the port has its names, and ``shape`` has limits that the port's sizes don't have."""
    value = value_of(layer.find("output/port"))
    data = layer.find("data")
    shape = data.get("shape") if data is not None else None
    if shape is None:
        return value
    return replace(value, dims=None if "..." in shape else tuple(map(_size, filter(None, shape.split(",")))))


def value_of(port: Any) -> Value:
    """Return the names, sizes and type of a port; ValueError if it is damaged."""
    names = tuple(name.replace("\\,", ",") for name in COMMA.split(port.get("names", "")) if name)
    return Value(names, tuple(_size(dim.text or "") for dim in port.findall("dim")), port.get("precision", ""))


def _size(text: str) -> tuple[int, int | None]:
    """Return the limits of a size such as 3, -1, ?, 1..8, ..8 or 2.. ."""
    text = text.strip()
    if text in ("?", "-1"):
        return 0, None
    least, dots, most = text.partition("..")
    if not dots:
        return int(text), int(text)
    return int(least or 0), int(most) if most else None
