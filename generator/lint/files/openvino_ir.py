"""OpenVINO's own format: model.xml, and the weights in the .bin file beside it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

# A comma in a list of names that is part of a name has a backslash before it.
COMMA = re.compile(r"(?<!\\),")


@dataclass(frozen=True)
class Value:
    """An input or output: its names, and for each dimension its least and largest size (None: no limit)."""

    names: tuple[str, ...]
    dims: tuple[tuple[int, int | None], ...] | None  # None: the rank is not known

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
    if not path.stat().st_size:
        return OpenvinoFile(fault="it is empty")
    try:
        root = ElementTree.parse(path).getroot()  # noqa: S314 - expat limits how far entities expand
        if root.tag != "net":
            return OpenvinoFile(fault=f"its XML is <{root.tag}>, not the <net> of OpenVINO")
        return _read(root)
    except ElementTree.ParseError as error:
        return OpenvinoFile(fault=f"it is not XML, or is truncated: {error}")
    except (ValueError, LookupError, AttributeError, RecursionError):  # some part is missing
        return OpenvinoFile(fault="it is not an OpenVINO model, or is damaged")


def _read(root: Any) -> OpenvinoFile:
    layers = root.findall("layers/layer")
    kinds = {layer.get("id"): layer.get("type") for layer in layers}
    ports = {(layer.get("id"), port.get("id")): port for layer in layers for port in layer.findall("output/port")}
    inputs = [_input(layer) for layer in layers if layer.get("type") == "Parameter"]
    edges = root.findall("edges/edge")
    results = [edge for edge in edges if kinds.get(edge.get("to-layer")) == "Result"]
    outputs = [_value(ports[edge.get("from-layer"), edge.get("from-port")]) for edge in results]
    data = [each for layer in layers if layer.get("type") == "Const" for each in layer.findall("data")]
    ends = [int(each.get("offset", "0")) + int(each.get("size", "0")) for each in data]
    return OpenvinoFile(tuple(inputs), tuple(outputs), max(ends, default=0))


def _input(layer: Any) -> Value:
    """Return an input: the port has its names, and ``shape`` has limits that the port's sizes don't have."""
    value = _value(layer.find("output/port"))
    data = layer.find("data")
    shape = data.get("shape") if data is not None else None
    if shape is None:
        return value
    return Value(value.names, None if "..." in shape else tuple(map(_size, filter(None, shape.split(",")))))


def _value(port: Any) -> Value:
    names = tuple(name.replace("\\,", ",") for name in COMMA.split(port.get("names", "")) if name)
    return Value(names, tuple(_size(dim.text or "") for dim in port.findall("dim")))


def _size(text: str) -> tuple[int, int | None]:
    """Return the limits of a size such as 3, -1, ?, 1..8, ..8 or 2.. ."""
    text = text.strip()
    if text in ("?", "-1"):
        return 0, None
    least, dots, most = text.partition("..")
    if not dots:
        return int(text), int(text)
    return int(least or 0), int(most) if most else None
