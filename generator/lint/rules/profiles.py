"""Where other servers of Triton's repositories differ from Triton."""

from collections.abc import Iterator

from modelrepo.generator.lint.finding import Problem
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.subject import Case

HALVES = ("TYPE_FP16", "TYPE_BF16")


def policy(case: Case) -> Iterator[Problem]:
    """Find version policies, for Dynamo."""
    if case.host.profile == "dynamo" and case.config.message.HasField("version_policy"):
        yield Problem(case.config.place("version_policy"), POLICY.triton, POLICY.write)


def halves(case: Case) -> Iterator[Problem]:
    """Find inputs and outputs of 16-bit floats, for Dynamo."""
    if case.host.profile != "dynamo":
        return
    for kind in ("input", "output"):
        for number, tensor in enumerate(getattr(case.config.message, kind)):
            name = case.config.message.DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_number
            if tensor.data_type in name and name[tensor.data_type].name in HALVES:
                yield Problem(case.config.place(kind, number, "data_type"), HALF.triton, HALF.write)


POLICY = Rule(
    code="DYNAMO-VP",
    severity="warning",
    title="Dynamo, and a version policy",
    triton="Dynamo ignores version_policy.",
    write="Keep only the version to serve in the model's folder",
    check=policy,
    decided_by="dynamo",
    source="its release notes",
)
HALF = Rule(
    code="DYNAMO-TYPE",
    severity="information",
    title="Dynamo, and inputs or outputs of FP16 or BF16",
    triton="Early releases of Dynamo refuse inputs and outputs of FP16 and BF16.",
    write="Use a recent release of Dynamo, or inputs and outputs of FP32",
    check=halves,
    decided_by="dynamo",
    source="its release notes",
)
RULES = (POLICY, HALF)
