"""The page of each rule, made from its row: for `check --explain` and the documentation."""

from collections.abc import Iterable, Iterator

from modelrepo.generator.lint.examples import EXAMPLES
from modelrepo.generator.lint.rule import Rule

OWNERS = {"dynamo": "Dynamo's", "kserve": "KServe's"}
DECIDERS = {
    "core": "Triton's core decides this, whatever the backend.",
    "backend": "The model's backend decides this, whichever it is.",
    "advice": "This is our advice: Triton itself says nothing of it.",
    "dynamo": "NVIDIA Dynamo, which serves Triton's repositories, decides this. Ask it with `--profile dynamo`.",
    "kserve": "KServe, which serves Triton's repositories, decides this. Ask it with `--profile kserve`.",
}


def page(rule: Rule) -> str:
    """Return the page of a rule, as Markdown."""
    parts = [
        f"# {rule.code}: {rule.title}",
        f"**{rule.severity}**{', `--fix` can mend it' if rule.fixable else ''}, {releases(rule)}",
        f"## What Triton does\n\n{rule.triton}",
        f"## What to write\n\n{_sentence(rule.write)}",
        *_example(rule.code),
        f"## How we know\n\n{_decider(rule)} {_how(rule)}",
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _example(code: str) -> Iterator[str]:
    """Yield the lines that break a rule and those to write instead, if its page has some."""
    if code in EXAMPLES:
        example = EXAMPLES[code]
        yield f"## Example\n\n```\n{example.wrong}\n```\n\nInstead:\n\n```\n{example.right}\n```"


def releases(rule: Rule) -> str:
    """Return for which releases a rule holds, in words."""
    if rule.since and rule.before:
        return f"from {rule.since} until before {rule.before}"
    return f"from {rule.since} on" if rule.since else f"before {rule.before}" if rule.before else "all releases"


def index(rules: Iterable[Rule]) -> str:
    """Return the table of rules, as Markdown, with a link to the page of each."""
    rows = ["| rule | severity | decided by | `--fix` | what it finds |", "|---|---|---|---|---|"]
    for rule in rules:
        fix = "yes" if rule.fixable else ""
        link = f"[{rule.code}](rules/{rule.code}.md)"
        rows.append(f"| {link} | {rule.severity} | {rule.decided_by} | {fix} | {rule.title} |")
    return "\n".join(rows) + "\n"


def _decider(rule: Rule) -> str:
    return DECIDERS.get(rule.decided_by, f"The backend {rule.decided_by} decides this.")


def _how(rule: Rule) -> str:
    if rule.seen:
        return f"Seen on the real server: {_sentence(rule.seen)}"
    if rule.decided_by == "advice" and rule.source:
        return f"Read in the source: `{rule.source}`."
    owner = OWNERS.get(rule.decided_by, "Triton's")
    return f"Read in {owner} source: `{rule.source}`." if rule.source else ""


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!")) else f"{text}."
