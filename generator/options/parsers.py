"""How each written value is read."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modelrepo.generator.backends import BACKENDS
from modelrepo.generator.errors import OptionError, nearest
from modelrepo.generator.optimize import PRECISIONS
from modelrepo.generator.options.names import check_name
from modelrepo.generator.specs.options import Calibration, Choice, Instances, Pruning, Ranges, Tolerance, VersionPolicy
from modelrepo.generator.specs.written import integer as _integer
from modelrepo.generator.specs.written import items as _items
from modelrepo.generator.specs.written import text as _text
from modelrepo.generator.triton import releases

INSTANCE_KINDS = ("auto", "cpu", "gpu", "model")


def _path(value: Any) -> Path:
    return Path(_text(value)).expanduser()


def _file(value: Any) -> Path:
    path = _path(value)
    if not path.is_file():
        raise ValueError("no such file")
    return path


def _folder(value: Any) -> Path:
    path = _path(value)
    if not path.is_dir():
        raise ValueError("no such folder")
    return path


def _file_or_folder(value: Any) -> Path:
    return _folder(value) if _path(value).is_dir() else _file(value)


def _client_dir(value: Any) -> Path | None:
    path = _path(value)
    if value == "none":
        return None
    if path.exists() and not (path.is_dir() and os.access(path, os.W_OK)):
        raise ValueError("not a folder that can be written")
    return path


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _choice(*words: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(f"expected {', '.join(words[:-1])} or {words[-1]}")
        return str(value)

    return parse


def _backends(value: Any) -> tuple[Choice, ...]:
    """Read backends; one that names no precision has an empty one, which ``resolve`` fills in."""
    choices = [Choice(*map(str.strip, _text(item).partition(":")[::2])) for item in _items(value)]
    if any(str(item).strip().endswith(":") for item in _items(value)):
        raise ValueError("expected a precision behind the colon, such as onnx:fp16")
    for choice in choices:
        if choice.backend not in BACKENDS:
            raise ValueError(f"unknown backend {choice.backend!r}. {nearest(choice.backend, BACKENDS)}")
        if choice.precision:
            _precision(choice.precision)
    return tuple(dict.fromkeys(choices))


def _precision(value: Any) -> str:
    if value not in PRECISIONS:
        raise ValueError(f"unknown precision {value!r}. {nearest(str(value), PRECISIONS)}")
    return str(value)


def _fraction(value: Any) -> float:
    """Read a share such as 0.01 or 1%; a whole number could be meant as either."""
    try:
        if isinstance(value, bool):
            raise ValueError
        percent = isinstance(value, str) and value.endswith("%")
        number = float(value[:-1]) / 100 if percent else float(value)
        if not percent and number >= 1:
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError("expected a share such as 1% or 0.01; for all of it 100%") from None
    if not 0 <= number <= 1:
        raise ValueError("expected a share from 0% to 100%")
    return number


def _pruning(value: Any) -> Pruning | None:
    if value == "none":
        return None
    if value == "2:4":
        return Pruning(structured=True)
    try:
        share = _fraction(value)
        if not 0 < share < 1:
            raise ValueError
    except ValueError:
        raise ValueError("expected 2:4, or a share above 0% and below 100%") from None
    return Pruning(share)


def _calibration(value: Any) -> Calibration:
    words = value.split() if isinstance(value, str) else []
    if words[1:] == ["random"]:
        return Calibration(count=_integer(1)(words[0]))
    return Calibration(path=_file_or_folder(value))


def _names(value: Any) -> tuple[str, ...]:
    return () if value in ("none", []) else tuple(map(_text, _items(value)))


def _profiles(value: Any) -> tuple[Ranges, ...]:
    """Read profiles such as ``batch=1:8:16,seq=16:128:512; batch=1:1:1,seq=1:64:128``."""
    profiles = [_ranges(_text(profile)) for profile in _items(value, ";")] if value != [] else []
    return tuple(profiles)


def _ranges(text: str) -> Ranges:
    ranges: dict[str, tuple[int, int, int]] = {}
    for part in _items(text):
        dim, equals, written = part.partition("=")
        sizes = [*map(_integer(1), written.split(":"))] if equals and written else []
        if not dim or len(sizes) not in (1, 3):
            raise ValueError("expected DIMENSION=MIN:OPT:MAX, such as batch=1:8:16,seq=16:128:512")
        low, tuned, high = sizes * 3 if len(sizes) == 1 else sizes
        if not low <= tuned <= high:
            raise ValueError(f"{part}: expected MIN:OPT:MAX in rising order")
        if dim in ranges:
            raise ValueError(f"{dim!r} is there twice")
        ranges[dim] = (low, tuned, high)
    return ranges


def _dynamic(value: Any) -> Mapping[str, Mapping[int, str]]:
    """Read ``ids:0=batch,1=seq;mask:0=batch,1=seq``, or such a mapping; a name that is empty is a single input's."""
    if isinstance(value, Mapping):
        return {name: {_integer(0)(axis): _text(dim) for axis, dim in axes.items()} for name, axes in value.items()}
    read: dict[str, dict[int, str]] = {}
    for part in _items(value, ";"):
        name, _, axes = _text(part).rpartition(":")
        if name in read:
            raise ValueError(f"input {name!r} is there twice")
        pairs = [*map(_axis, _items(axes))]
        read[name] = dict(pairs)
        if len(read[name]) < len(pairs):
            raise ValueError(f"an axis of {name!r} is there twice")
    return read


def _axis(text: str) -> tuple[int, str]:
    axis, equals, dim = text.partition("=")
    if not equals or not axis.isdigit() or not dim.isidentifier():
        raise ValueError("expected INPUT:AXIS=NAME,…, such as ids:0=batch,1=seq;mask:0=batch,1=seq")
    return int(axis), dim


def _sizes(value: Any) -> tuple[int, ...]:
    if value == []:
        return ()
    return tuple(sorted(set(map(_integer(1), _items(value)))))


def _instances(value: Any) -> Instances:
    kind, _, count = _text(value).partition(":")
    if kind not in INSTANCE_KINDS:
        raise ValueError(f"expected KIND:COUNT with a kind of {', '.join(INSTANCE_KINDS)}")
    return Instances(f"KIND_{kind.upper()}", _integer(1)(count or "1"))


def _version_policy(value: Any) -> VersionPolicy:
    kind, _, detail = _text(value).partition(":")
    if kind == "specific":
        return VersionPolicy("specific", _sizes(detail) if detail else ())
    if kind == "latest":
        return VersionPolicy("latest", num_versions=_integer(1)(detail or "1"))
    if kind == "all" and not detail:
        return VersionPolicy("all")
    raise ValueError("expected specific, specific:1,2, latest:N or all")


def _tolerance(value: Any) -> Tolerance:
    parts = dict(part.partition("=")[::2] for part in _items(value)) if isinstance(value, str) else {}
    try:
        if isinstance(value, bool) or not (parts or isinstance(value, (int, float))):
            raise TypeError
        if not parts or list(parts.values()) == [""]:
            tolerance = Tolerance(float(value))
        else:
            tolerance = Tolerance(**{"relative": 0.0, **{name: float(number) for name, number in parts.items()}})
    except (TypeError, ValueError):
        raise ValueError("expected a number such as 1e-3, or relative=1e-3,absolute=1e-6") from None
    if not (0 <= tolerance.relative < float("inf") and 0 <= tolerance.absolute < float("inf")):
        raise ValueError("expected numbers of at least 0")
    return tolerance


def _release(value: Any) -> str:
    return releases.release_named(_text(value)).container


def _name_template(value: Any) -> str:
    if value == "":
        return ""
    template = _text(value)
    try:
        check_name(template.format(model="model", backend="backend", precision="fp16"))
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise ValueError("expected text with {model}, {backend} and {precision} in it and no other fields") from error
    except OptionError as error:
        raise ValueError(str(error)) from error
    return template
