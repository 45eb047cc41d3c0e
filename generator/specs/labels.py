"""Names of classes, as files and metadata have them: lists, and tables by number."""

from collections.abc import Mapping
from typing import Any


def in_order(found: Any) -> tuple[str, ...]:
    """Return the names of classes in order, each as one line; none if ``found`` does not name them all.

    A table has a name for each number from 0 on, or a number for each name. A name may be the last of several, as
    ImageNet's after its code.
    """
    if isinstance(found, Mapping) and sorted(map(repr, found.values())) == sorted(map(repr, range(len(found)))):
        return in_order(sorted(found, key=lambda name: int(found[name])))
    if isinstance(found, Mapping):
        by_number = {str(number): name for number, name in found.items()}
        found = [by_number.get(str(number)) for number in range(len(found))]
    if not isinstance(found, list | tuple):
        return ()
    names = [each[-1] if isinstance(each, list | tuple) and each else each for each in found]
    lines = [" ".join(name.split()) if isinstance(name, str) else "" for name in names]
    return tuple(lines) if all(lines) else ()
