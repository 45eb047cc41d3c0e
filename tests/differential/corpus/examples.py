"""Both sides of the examples of the rules' pages, of which the core decides."""

import re

from modelrepo.generator.lint.examples import EXAMPLES
from modelrepo.generator.lint.rules import rules
from tests.differential.case import Case
from tests.differential.trial import KILLS

X = 'input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }\n'
Y = 'output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] }\n'

MEMBER = 'backend: "light"\nmax_batch_size: 8\n' + X + Y


def completed(lines: str) -> str:
    """Return the lines of an example with what else a configuration needs."""
    rest = (("backend|platform", 'backend: "light"\n'), ("input", X), ("output", Y))
    missing = (text for field, text in rest if not re.search(rf"^({field})\b", lines, re.MULTILINE))
    return f"{''.join(missing)}{lines}\n"


def is_layout(lines: str) -> bool:
    """Whether an example lists what lies in the folder of a model."""
    return lines.startswith("net/")


def _case(name: str, lines: str, errors: tuple[str, ...]) -> Case:
    if is_layout(lines):
        paths = [line.removeprefix("net/") for line in lines.splitlines()[1:]]
        files = {path.replace("model.onnx", "x"): "x" for path in paths}
        return Case(name, completed(""), files, (), errors, alone="VDIR-BIG" in errors)
    text = completed(lines).replace('"scale', f'"{name}_scale')
    member = {f"{name}_scale": Case(f"{name}_scale", MEMBER)} if "ensemble" in lines else {}
    return Case(name, text, {"labels.txt": "cat\n"}, errors=errors, alone=bool(KILLS & {*errors}), others=member)


def _cases() -> list[Case]:
    made = []
    for rule in rules():
        example = EXAMPLES.get(rule.code)
        if example is None or rule.decided_by != "core" or "backend:" in example.wrong:
            continue
        wanted = (rule.code,) if rule.severity == "error" else ()
        for side, lines, errors in (("wrong", example.wrong, wanted), ("right", example.right, ())):
            name = "net" if rule.code == "NAME" and side == "right" else f"example_{side}_{rule.code}"
            made.append(_case(name, lines, errors))
    return made


CASES = _cases()
