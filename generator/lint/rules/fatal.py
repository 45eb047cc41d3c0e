"""What ends the server, with all its models."""

import re
from collections.abc import Iterator

from modelrepo.generator.lint.finding import Problem
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.subject import Case

# Triton puts a "_" before each key, and Prometheus keeps names with two of them to itself.
TAG = re.compile("([a-zA-Z0-9][a-zA-Z0-9_]*)?", re.ASCII)


def tag(case: Case) -> Iterator[Problem]:
    """Find keys of metric tags that Prometheus does not take."""
    for key in case.config.message.metric_tags:
        if not TAG.fullmatch(key):
            says = f'Triton ends, with all its models: "Invalid label name"; {key!r} can\'t be one'
            yield Problem(case.config.place("metric_tags"), says, METRIC_TAG.write)


METRIC_TAG = Rule(
    code="METRIC-TAG",
    severity="error",
    title="a metric tag whose key is not a label's name",
    triton='Triton ends when it loads the model, with all its models: "Invalid label name".',
    write="Write the key with letters, digits and '_', and not with a '_' in front",
    check=tag,
    seen="2.51",
)
RULES = (METRIC_TAG,)
