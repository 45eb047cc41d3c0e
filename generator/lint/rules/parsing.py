"""Whether Triton can read a configuration at all."""

from collections.abc import Iterator

from modelrepo.generator.lint.finding import Place, Problem
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.subject import Case


def parse(case: Case) -> Iterator[Problem]:
    """Find a text that protobuf can't parse."""
    config = case.model.config
    if config is not None and config.message is None:
        line, column = config.error_at
        yield Problem(Place(config.path, line, column), f"Triton can't parse it: {config.error}", PARSE.write)


PARSE = Rule(
    code="PARSE",
    severity="error",
    title="the text is not a ModelConfig",
    triton='Triton ignores the model: "failed to read text proto from …"; over its API it only says "failed to poll".',
    write="Correct the line; every field is listed in model_config.proto",
    check=parse,
    seen="2.51",
    needs_config=False,
)
RULES = (PARSE,)
