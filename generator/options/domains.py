"""The reader of `--domain`: what an input takes."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelrepo.generator.specs.options import Values
from modelrepo.generator.specs.written import items, text

if TYPE_CHECKING:
    from modelrepo.generator.specs.tensors import Array

LIKE = "like "
# More different values than these are a range.
FEW = 64
EXPECTED = "expected INPUT=LOW:HIGH, INPUT=CHOICE,CHOICE,… or INPUT=like FILE, such as lengths=1:6;axis=0,1"
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
RANGE = re.compile(rf"({NUMBER})?:({NUMBER})?")


def read_domains(value: Any) -> tuple[Values, ...]:
    """Read ``lengths=1:6;axis=0,1``, a table of such texts, lists and numbers, or a list as ``asdict`` makes it."""
    if value == [] or value == {}:
        return ()
    if isinstance(value, Mapping):
        found = tuple(_read(name, each) for name, each in value.items())
    elif isinstance(value, list) and all(isinstance(each, Mapping) for each in value):
        return tuple(Values(**{**each, "choices": tuple(each["choices"])}) for each in value)
    else:
        found = tuple(_read(*_parted(part)) for part in items(value, ";"))
    names = [each.name for each in found]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"input {twice[0]!r} is there twice")
    return found


def _parted(part: Any) -> tuple[str, str]:
    name, equals, values = text(part).partition("=")
    if not equals or not values.strip():
        raise ValueError(EXPECTED)
    return name.strip(), values.strip()


def _read(name: str, values: Any) -> Values:
    if isinstance(values, (list, int, float)):
        return Values(name, choices=_choices(values if isinstance(values, list) else [values]))
    written = text(values)
    if written == LIKE.strip():
        raise ValueError(EXPECTED)
    if written.startswith(LIKE):
        return _like(name, Path(written.removeprefix(LIKE).strip()).expanduser())
    bounds = RANGE.fullmatch(written.replace(" ", ""))
    if bounds is None:
        return Values(name, choices=_choices(items(written)))
    low, high = (None if bound is None else float(bound) for bound in bounds.groups())
    if low is None and high is None:
        raise ValueError(EXPECTED)
    if low is not None and high is not None and low > high:
        raise ValueError(f"{written}: expected LOW:HIGH in rising order")
    return Values(name, low, high)


def _choices(written: list[Any]) -> tuple[str | float, ...]:
    """Return choices as they are written: whether ``1`` is a number or a text depends on the input's type."""
    if any(not isinstance(each, (str, int, float)) for each in written):
        raise ValueError(EXPECTED)
    return tuple(dict.fromkeys(written))


def _like(name: str, path: Path) -> Values:
    """Return the values that an input has in a file of samples: each, if they are few and not fractions, or a range."""
    import numpy as np

    values = _samples(name, path)
    if values.dtype.kind not in "fiubU" or not values.size:
        raise ValueError(f"{path} holds no numbers or texts for {name!r}")
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise ValueError(f"{path} holds NaN or infinity for {name!r}")
        spread = float(values.std()) or None
        return Values(name, float(values.min()), float(values.max()), (), float(values.mean()), spread)
    known = np.unique(values)
    if len(known) <= FEW or values.dtype.kind == "U":
        chosen = [str(each) if values.dtype.kind == "U" else float(each) for each in known]
        return Values(name, choices=tuple(chosen))
    return Values(name, float(known[0]), float(known[-1]))


def _samples(name: str, path: Path) -> "Array":
    import numpy as np

    try:
        with path.open("rb") as opened:
            loaded = np.load(opened, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            held = dict(loaded)
    except OSError as error:
        raise ValueError(f"can't read {path}: {error.strerror or error}") from error
    except Exception as error:  # numpy, zipfile and zlib each have errors of their own for broken files
        raise ValueError(f"can't read {path}: it is not a .npy or .npz file of numbers or text") from error
    if not name and len(held) == 1:
        (name,) = held
    if name not in held:
        raise ValueError(f"{path} has no input {name!r}: it holds {', '.join(held) or 'nothing'}")
    found: Array = held[name]
    return found
