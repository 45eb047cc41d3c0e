"""The page of the comparison with the real server, docs/reference/differential.md."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from modelrepo.generator.lint.rules import rules
from tests.conftest import PROJECT
from tests.differential.rows import Row
from tests.differential.trial import RELEASE

PAGE = PROJECT / "docs/reference/differential.md"
WIDTH = 120
HEAD = """# `check` against the real server

<!-- Made by: make differential -->

"""
INTRODUCTION = (
    "Whether the linter says what Triton says. Repositories are given to both, and they agree on a model if the linter "
    "finds an error exactly when Triton refuses the model. The corpus is kept by hand; the random repositories are "
    "models that load, with up to three changes of any field of ModelConfig, of the text or of the version folders. "
    "Changed texts have other tokens or other bytes at a few places."
)
SERVER = (
    f"The server is Triton {RELEASE} on a machine without a GPU, and completes configurations, as it does by default. "
    "Most models are of the smallest backend that there can be, which takes what the core accepts: so it is the core "
    "that is asked, whatever backend the configuration names. A model that ends the server counts as refused."
)
UNDECIDED = (
    "These errors are left out of the comparison, except in the cases of `backends`, which real backends run. Nor is "
    "it decided whether a server has the `checksum` agent: NVIDIA's images have it, ours has none."
)
RANDOM = {"random": "random", "texts": "changed texts", "schedulers": "random schedulers and ensembles"}
REASONS = {
    "backend": "the smallest backend, which needs no file, stands in for it in most cases",
    "onnxruntime": "NVIDIA's backend in C++ is not in our server; ours follows its source, and is asked in some cases",
    "tensorrt": "the backend needs a GPU",
    "openvino": "the backend is in NVIDIA's images only",
    "pytorch": "the backend is in NVIDIA's images only",
    "python": "the smallest backend stands in for it in most cases",
    "dynamo": "Dynamo is another server",
    "advice": "it is our advice: Triton loads the model",
}


def page(rows: Sequence[Row]) -> str:
    """Return the text of the page."""
    models, agreements = sum(row.models for row in rows), sum(row.agreements for row in rows)
    loads = sum(row.loads for row in rows)
    figure = (
        f"**{agreements} of {models} models agree**; Triton serves {loads} of them, and refuses the others. "
        f"Measured {datetime.now(UTC):%Y-%m-%d}."
    )
    wrong = [told for row in rows for told in row.disagreements]
    parts = [_line(row.key.partition("/")[2], [row]) for row in rows if row.key.startswith("corpus/")]
    for kind, title in RANDOM.items():
        own = [row for row in rows if row.key.startswith(f"{kind}/")]
        parts += [_line(f"{title}, {len(own)} seeds", own)] if own else []
    return (
        f"{HEAD}{_filled(INTRODUCTION)}\n\n{_filled(SERVER)}\n\n{_filled(figure)}\n\n"
        f"| cases | models | served | refused | agree |\n|---|---|---|---|---|\n{''.join(parts)}"
        f"\n## Disagreements\n\n{''.join(f'- {_plain(told)}{chr(10)}' for told in wrong) or f'None.{chr(10)}'}"
        f"\n## The rules that were tried\n\n{_tried(rows)}"
        f"\n## Not decided here\n\n{_filled(UNDECIDED)}\n\n{_undecided(rows)}"
        f"{_completions(rows)}"
    )


def _line(title: str, rows: Sequence[Row]) -> str:
    models, loads = sum(row.models for row in rows), sum(row.loads for row in rows)
    return f"| {title} | {models} | {loads} | {models - loads} | {sum(row.agreements for row in rows)} |\n"


def _tried(rows: Sequence[Row]) -> str:
    found = _sum(row.found for row in rows)
    errors = [rule for rule in rules() if rule.severity == "error"]
    core = [rule for rule in errors if rule.decided_by == "core"]
    lines = [f"| {rule.code} | {rule.title} | {found[rule.code]} |\n" for rule in errors if found[rule.code]]
    never = [rule.code for rule in core if not found[rule.code]]
    missing = f"\n{_filled('Never found here: ' + ', '.join(never) + '.')}\n" if never else ""
    return f"| rule | | models |\n|---|---|---|\n{''.join(lines)}{missing}"


def _undecided(rows: Sequence[Row]) -> str:
    """Return who else decides, why that is not here, and what it decides; with the models in which such errors are."""
    found = _sum(row.undecided for row in rows)
    others = [rule for rule in rules() if rule.decided_by != "core" and rule.severity == "error"]
    lines = []
    for decider in dict.fromkeys(rule.decided_by for rule in others):
        codes = [rule.code for rule in others if rule.decided_by == decider]
        told = ", ".join(f"{code} ({found[code]})" if found[code] else code for code in codes)
        lines.append(f"| {decider} | {REASONS[decider]} | {told} |\n")
    return (
        f"| who decides | why not here | rules (and models in which they were found) |\n|---|---|---|\n{''.join(lines)}"
    )


def _completions(rows: Sequence[Row]) -> str:
    compared, other = sum(row.completions for row in rows), [each for row in rows for each in row.completed_otherwise]
    figure = (
        f"The configuration that we predict Triton completes to is what `/v2/models/M/config` says for "
        f"{compared - len(other)} of {compared} models that it serves."
    )
    lines = "".join(f"- {_plain(each)}\n" for each in other[:20])
    return f"\n## Completed configurations\n\n{_filled(figure)}\n" + (f"\n{lines}" if lines else "")


def _sum(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    return sum((Counter(each) for each in counts), Counter())


def _plain(text: str) -> str:
    return " ".join(text.split())[:300]


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False)
