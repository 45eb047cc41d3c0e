"""Truncated and mutated files: an inspection of them never raises."""

import random
from collections.abc import Callable
from pathlib import Path

from modelrepo.generator.inspection.inspection import Inspection
from tests.generator.lint.mutations import mutated

TIMES = 200


def survives(inspect: Callable[[Path], Inspection], path: Path, part: Path | None = None) -> list[Inspection]:
    """Inspect ``path`` with ``part`` of it (itself, by default) cut and changed at random; return the inspections."""
    changed = part or path
    content, chance, found = changed.read_bytes(), random.Random(7), []
    for _ in range(TIMES):
        cut = content[: chance.randrange(len(content))]
        changed.write_bytes(chance.choice((cut, mutated(content, chance), _flipped(content, chance))))
        found.append(inspect(path))
    changed.write_bytes(content)
    return found


def _flipped(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 3, 30))):
        changed[chance.randrange(len(changed))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    return bytes(changed)
