"""Which versions of a model are loaded: its version policy, and the versions that are there."""

from collections.abc import Iterator

from modelrepo.generator.lint.finding import Problem
from modelrepo.generator.lint.refusal import refused
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.selected import selected
from modelrepo.generator.lint.subject import Case


def none_selected(case: Case) -> Iterator[Problem]:
    """Find a policy that selects none of the versions that are there."""
    config = case.config.message
    if not case.model.versions or selected(case.model, config):
        return  # without any version, the rules of their folders say it
    words = f"at least one version must be available under the version policy of model '{case.model.name}'"
    policy, there = config.version_policy, sorted(case.model.versions)
    if policy.HasField("latest"):
        yield refused(case.config.place("version_policy", "latest"), words, "Write num_versions: 1 in latest, or more")
    else:
        versions = ", ".join(str(each) for each in there)
        place = case.config.place("version_policy", "specific", "versions")
        yield refused(place, words, f"Write versions that are there: {versions}")


def missing(case: Case) -> Iterator[Problem]:
    """Find versions that a policy asks for and that are not there, beside others that are."""
    config = case.config.message
    loaded = selected(case.model, config)
    if not loaded:
        return
    for position, number in enumerate(config.version_policy.specific.versions):
        if number not in loaded:
            says = (
                f'Triton serves the other versions, and logs "version {number} is specified for model '
                f"'{case.model.name}', but the version directory is not present\""
            )
            place = case.config.place("version_policy", "specific", "versions", position)
            yield Problem(place, says, f"Leave {number} out, or add that version")


def twice(case: Case) -> Iterator[Problem]:
    """Find a version that is not there and that a policy asks for twice."""
    asked = list(case.config.message.version_policy.specific.versions)
    for position, number in enumerate(asked):
        if number in asked[:position] and number not in case.model.versions:
            says = f"Triton loads version {number} without its folder, because the policy names it twice"
            place = case.config.place("version_policy", "specific", "versions", position)
            yield Problem(place, says, f"Leave {number} out, or add that version")


NONE = Rule(
    code="VP",
    severity="error",
    title="the version policy selects none of the versions",
    triton='Triton refuses the model: "at least one version must be available under the version policy". A policy '
    "latest without num_versions selects none; a policy without a choice selects all.",
    write="Write a policy that selects a version that is there, or leave version_policy out for the newest",
    check=none_selected,
    seen="2.51",
)
MISSING = Rule(
    code="VP-MISS",
    severity="warning",
    title="some of the versions of the policy are not there",
    triton="Triton logs it, and serves the others.",
    write="Leave the versions out that are not there",
    check=missing,
    seen="2.51",
)
TWICE = Rule(
    code="VP-TWICE",
    severity="warning",
    title="a version that is not there is named twice",
    triton="Triton tries to load it: the second time it takes it for one that is there.",
    write="Leave the version out",
    check=twice,
    seen="2.51",
)
RULES = (NONE, MISSING, TWICE)
