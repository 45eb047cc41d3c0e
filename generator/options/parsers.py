"""How each written value is read: ValueError says what was expected."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modelrepo.generator.backends import BACKENDS
from modelrepo.generator.errors import OptionError, nearest
from modelrepo.generator.optimize import precisions
from modelrepo.generator.options.names import filled_in
from modelrepo.generator.specs.options import (
    Assumption,
    Calibration,
    Choice,
    Effort,
    Instances,
    Pruning,
    Ranges,
    Tolerance,
    VersionPolicy,
)
from modelrepo.generator.specs.written import integer, items, text
from modelrepo.generator.triton import releases

EFFORTS = ("quick", "normal", "thorough")
LONGEST_SECONDS = 7 * 24 * 3600
UNITS = {"s": 1, "m": 60, "h": 3600}
INSTANCE_KINDS = ("auto", "cpu", "gpu", "model")


def read_path(value: Any) -> Path:
    """Return a path, its ``~`` expanded."""
    return Path(text(value)).expanduser()


def read_file(value: Any) -> Path:
    """Return the path of a file that exists."""
    path = read_path(value)
    if not path.is_file():
        raise ValueError("no such file")
    return path


def read_class_names(value: Any) -> Path:
    """Return the path of a file that exists; ValueError also tells how the labels of samples are named."""
    path = read_path(value)
    if not path.is_file():
        raise ValueError(
            f"no such file; it names the classes. Labels in a column of --samples are named with --label-column {value}"
        )
    return path


def read_folder(value: Any) -> Path:
    """Return the path of a folder that exists."""
    path = read_path(value)
    if not path.is_dir():
        raise ValueError("no such folder")
    return path


def read_file_or_folder(value: Any) -> Path:
    """Return a path that exists."""
    return read_folder(value) if read_path(value).is_dir() else read_file(value)


def read_client_dir(value: Any) -> Path | None:
    """Return a folder that can be made or written in; None for ``none``."""
    path = read_path(value)
    if value == "none":
        return None
    if path.exists() and not (path.is_dir() and os.access(path, os.W_OK)):
        raise ValueError("not a folder that can be written")
    return path


def read_boolean(value: Any) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def one_of(*words: str) -> Callable[[Any], str]:
    """Return a function that reads one of these words."""

    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(f"expected {' or '.join(filter(None, (', '.join(words[:-1]), words[-1])))}")
        return str(value)

    return parse


def read_backends(value: Any) -> tuple[Choice, ...]:
    """Read backends; one that names no precision has an empty one, which ``resolve`` fills in."""
    choices = [Choice(*map(str.strip, text(item).partition(":")[::2])) for item in items(value)]
    if any(str(item).strip().endswith(":") for item in items(value)):
        raise ValueError("expected a precision behind the colon, such as onnx:fp16")
    for choice in choices:
        if choice.backend not in BACKENDS:
            raise ValueError(f"unknown backend {choice.backend!r}. {nearest(choice.backend, BACKENDS)}")
        if choice.precision:
            read_precision(choice.precision)
    return tuple(dict.fromkeys(choices))


def read_precision(value: Any) -> str:
    """Return the name of a precision."""
    if value not in precisions():
        raise ValueError(f"unknown precision {value!r}. {nearest(str(value), precisions())}")
    return str(value)


def read_fraction(value: Any) -> float:
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


def read_pruning(value: Any) -> Pruning | None:
    """Read 2:4 or a share; None for ``none``."""
    if value == "none":
        return None
    if value == "2:4":
        return Pruning(structured=True)
    try:
        share = read_fraction(value)
        if not 0 < share < 1:
            raise ValueError
    except ValueError:
        raise ValueError("expected 2:4, or a share above 0% and below 100%") from None
    return Pruning(share)


def read_calibration(value: Any) -> Calibration:
    """Read a path, or a count such as ``64 random``."""
    words = value.split() if isinstance(value, str) else []
    if words[1:] == ["random"]:
        return Calibration(count=integer(1)(words[0]))
    return Calibration(path=read_file_or_folder(value))


def read_names(value: Any) -> tuple[str, ...]:
    """Read a list of names; empty for ``none``."""
    return () if value in ("none", []) else tuple(map(text, items(value)))


def read_profiles(value: Any) -> tuple[Ranges, ...]:
    """Read profiles such as ``batch=1:8:16,seq=16:128:512; batch=1:1:1,seq=1:64:128``."""
    profiles = [read_ranges(text(profile)) for profile in items(value, ";")] if value != [] else []
    return tuple(profiles)


def read_ranges(text: str) -> Ranges:
    """Read one profile."""
    ranges: dict[str, tuple[int, int, int]] = {}
    for part in items(text):
        dim, equals, written = part.partition("=")
        sizes = [*map(integer(1), written.split(":"))] if equals and written else []
        if not dim or len(sizes) not in (1, 3):
            raise ValueError("expected DIMENSION=MIN:OPT:MAX, such as batch=1:8:16,seq=16:128:512")
        low, tuned, high = sizes * 3 if len(sizes) == 1 else sizes
        if not low <= tuned <= high:
            raise ValueError(f"{part}: expected MIN:OPT:MAX in rising order")
        if dim in ranges:
            raise ValueError(f"{dim!r} is there twice")
        ranges[dim] = (low, tuned, high)
    return ranges


def read_dynamic(value: Any) -> Mapping[str, Mapping[int, str]]:
    """Read ``ids:0=batch,1=seq;mask:0=batch,1=seq``, or such a mapping; a name that is empty is a single input's."""
    if isinstance(value, Mapping):
        return {name: {integer(0)(axis): text(dim) for axis, dim in axes.items()} for name, axes in value.items()}
    read: dict[str, dict[int, str]] = {}
    for part in items(value, ";"):
        name, _, axes = text(part).rpartition(":")
        if name in read:
            raise ValueError(f"input {name!r} is there twice")
        pairs = [*map(read_axis, items(axes))]
        read[name] = dict(pairs)
        if len(read[name]) < len(pairs):
            raise ValueError(f"an axis of {name!r} is there twice")
    return read


def read_axis(text: str) -> tuple[int, str]:
    """Read ``0=batch``."""
    axis, equals, dim = text.partition("=")
    if not equals or not axis.isdigit() or not dim.isidentifier():
        raise ValueError("expected INPUT:AXIS=NAME,…, such as ids:0=batch,1=seq;mask:0=batch,1=seq")
    return int(axis), dim


def read_assumptions(value: Any) -> tuple[Assumption, ...]:
    """Read assumptions such as ``nets.py:12=false,nets.py:20``; empty for an empty list."""
    return tuple(dict.fromkeys(map(read_assumption, items(value)))) if value != [] else ()


def read_assumption(value: Any) -> Assumption:
    """Read ``nets.py:12=false``, ``nets.py:12``, or a dictionary as ``dataclasses.asdict`` makes it."""
    if isinstance(value, Mapping):
        return Assumption(**value)
    place, equals, side = text(value).partition("=")
    path, _, line = place.rpartition(":")
    if not path or not line.isdigit() or (equals and side not in ("true", "false")):
        raise ValueError("expected FILE:LINE=true, FILE:LINE=false or FILE:LINE, such as nets.py:12=false")
    return Assumption(path, int(line), side == "true" if equals else None)


def read_sizes(value: Any) -> tuple[int, ...]:
    """Read a list of sizes, sorted."""
    if value == []:
        return ()
    return tuple(sorted(set(map(integer(1), items(value)))))


def read_instances(value: Any) -> Instances:
    """Read ``gpu:2``."""
    kind, _, count = text(value).partition(":")
    if kind not in INSTANCE_KINDS:
        raise ValueError(f"expected KIND:COUNT with a kind of {', '.join(INSTANCE_KINDS)}")
    return Instances(f"KIND_{kind.upper()}", integer(1)(count or "1"))


def read_version_policy(value: Any) -> VersionPolicy:
    """Read specific, specific:1,2, latest:N or all."""
    kind, _, detail = text(value).partition(":")
    if kind == "specific":
        return VersionPolicy("specific", read_sizes(detail) if detail else ())
    if kind == "latest":
        return VersionPolicy("latest", num_versions=integer(1)(detail or "1"))
    if kind == "all" and not detail:
        return VersionPolicy("all")
    raise ValueError("expected specific, specific:1,2, latest:N or all")


def read_tolerance(value: Any) -> Tolerance:
    """Read a relative tolerance, or ``relative=…,absolute=…``."""
    parts = dict(part.partition("=")[::2] for part in items(value)) if isinstance(value, str) else {}
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


def read_effort(value: Any) -> Effort:
    """Return quick, normal, thorough, or a time in seconds or minutes."""
    written = text(value)
    if written in EFFORTS:
        return Effort(written)  # type: ignore[arg-type]
    seconds = _seconds(written)
    if seconds is None or written[-1:] not in UNITS:
        raise ValueError(f"expected {', '.join(EFFORTS)}, or a time such as 60s or 5m")
    return Effort(seconds=seconds)


def read_seconds(value: Any) -> float:
    """Return a time in seconds, which is written as a number of seconds, or with a unit: s, m or h."""
    seconds = None if isinstance(value, bool) else _seconds(str(value).strip())
    if seconds is None:
        raise ValueError("expected a number of seconds, or a time such as 90s, 10m or 2h")
    return seconds


def _seconds(written: str) -> float | None:
    """Return a written time in seconds; None if it is not one, or not above zero."""
    unit = UNITS.get(written[-1:])
    try:
        seconds = float(written[:-1] if unit else written) * (unit or 1)
    except ValueError:
        return None
    return seconds if 0 < seconds < LONGEST_SECONDS else None


def read_release(value: Any) -> str:
    """Return a known release, such as 26.08."""
    return releases.release_named(text(value)).container


def read_name_template(value: Any) -> str:
    """Return a template for the published name; empty for the default."""
    if value == "":
        return ""
    template = text(value)
    try:
        filled_in(template, "model", Choice("backend", "fp16"))
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise ValueError("expected text with the fields {model}, {backend}, {precision} and {_precision}") from error
    except OptionError as error:
        raise ValueError(str(error)) from error
    return template
