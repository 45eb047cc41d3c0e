"""Both sides of the examples of the rules' pages, of which the core decides."""

import re

from modelrepo.generator.lint.examples import EXAMPLES
from modelrepo.generator.lint.rules import rules
from tests.differential.case import Case

X = 'input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }\n'
Y = 'output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] }\n'


def completed(lines: str) -> str:
    """Return the lines of an example with what else a configuration needs."""
    rest = (("backend", 'backend: "light"\n'), ("input", X), ("output", Y))
    missing = (text for field, text in rest if not re.search(rf"^{field}\b", lines, re.MULTILINE))
    return f"{''.join(missing)}{lines}\n"


def _cases() -> list[Case]:
    made = []
    for rule in rules():
        example = EXAMPLES.get(rule.code)
        if example is None or rule.decided_by != "core" or "backend:" in example.wrong:
            continue
        wanted = (rule.code,) if rule.severity == "error" else ()
        for side, text, errors in (("wrong", example.wrong, wanted), ("right", example.right, ())):
            name = "net" if rule.code == "NAME" and side == "right" else f"example_{side}_{rule.code}"
            made.append(Case(name, completed(text), {"labels.txt": "cat\n"}, errors=errors))
    return made


CASES = _cases()
