"""The rules' pages are made from their rows."""

import pytest

from modelrepo.generator.lint.page import index, page
from modelrepo.generator.lint.rules import rules
from tests.conftest import PROJECT

FOLDER = PROJECT / "docs/reference/rules"
INDEX = PROJECT / "docs/reference/rules.md"
HEAD = """# Rules of check

<!-- Made from the code: pytest --update-goldens -->

What [modelrepo check](check.md) looks for. An **error** is what Triton refuses, or what ends it; a **warning** loads,
but does something else than is written; **information** is good to know. The page of a rule says how it is known.
`modelrepo check --explain CODE` prints it.

"""


def test_each_rule_has_its_page(request: pytest.FixtureRequest) -> None:
    wanted = {f"{rule.code}.md": page(rule) for rule in rules()}
    if request.config.getoption("--update-goldens"):
        FOLDER.mkdir(exist_ok=True)
        for file in FOLDER.iterdir():
            file.unlink()
        for name, text in wanted.items():
            (FOLDER / name).write_text(text, "utf-8")
        INDEX.write_text(HEAD + index(rules()), "utf-8")
    assert {file.name: file.read_text("utf-8") for file in FOLDER.iterdir()} == wanted
    assert INDEX.read_text("utf-8") == HEAD + index(rules())


def test_a_code_has_one_rule() -> None:
    codes = [rule.code for rule in rules()]
    assert sorted(set(codes)) == sorted(codes)


def test_a_rule_says_how_it_is_known() -> None:
    assert [rule.code for rule in rules() if not (rule.seen or rule.source or rule.decided_by == "advice")] == []
