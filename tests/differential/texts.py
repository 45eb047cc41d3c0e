"""Texts that cases of the corpus share."""

from collections.abc import Iterable

from tests.differential.case import Case

X = 'input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }\n'
Y = 'output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] }\n'
LIGHT = 'backend: "light"\n'
# A model that loads, with and without batches.
PLAIN = f"{LIGHT}{X}{Y}"
BATCHED = f"{PLAIN}max_batch_size: 8\n"
# A name, the text, and the codes of its errors.
Row = tuple[str, str, str]


def cases(prefix: str, before: str, rows: Iterable[Row], after: str = "") -> list[Case]:
    """Return a case for each row; its text stands between two others."""
    return [Case(f"{prefix}_{name}", before + text + after, errors=tuple(codes.split())) for name, text, codes in rows]
