"""Inputs and outputs."""

from collections.abc import Iterator

from modelrepo.generator.lint.finding import Problem
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.subject import Case


def dim(case: Case) -> Iterator[Problem]:
    """Find dimensions that are neither positive nor -1."""
    for kind in ("input", "output"):
        for number, tensor in enumerate(getattr(case.config.message, kind)):
            for axis, size in enumerate(tensor.dims):
                if size == 0 or size < -1:
                    yield Problem(
                        case.config.place(kind, number, "dims", axis),
                        f'Triton refuses the model: "model {kind} dimension must be integer >= 1, or -1 to indicate a '
                        f'variable-size dimension"; {tensor.name} has {size}',
                        DIM.write,
                    )


DIM = Rule(
    code="DIM",
    severity="error",
    title="a dimension is 0, or less than -1",
    triton="Triton refuses the model.",
    write="Write the size, or -1 for any size",
    check=dim,
    seen="2.51",
)
RULES = (DIM,)
