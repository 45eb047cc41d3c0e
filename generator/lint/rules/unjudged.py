"""What could not be judged, for a fault of ours or because a file changed while it was read."""

from modelrepo.generator.lint.finding import Finding
from modelrepo.generator.lint.rule import Rule

UNJUDGED = Rule(
    code="UNJUDGED",
    severity="warning",
    title="a rule could not judge",
    triton="Nothing is known: the rule failed, because a file changed while it was read or because of a fault of ours. "
    "`check` then ends with exit code 6, as for an error: what was not judged may be wrong.",
    write="Check again; if it stays, report it with the file",
    decided_by="advice",
    source="this checker",
)
RULES = (UNJUDGED,)
# Findings with these codes say that nothing is known of a model.
NOTHING_KNOWN = (UNJUDGED.code, "CONFIG-SIZE")


def stops(finding: Finding, *, strict: bool) -> bool:
    """Whether a check with this finding has failed: Triton refuses a model, or it is not known whether it does."""
    return finding.severity in ("error", *(("warning",) if strict else ())) or finding.code in NOTHING_KNOWN
