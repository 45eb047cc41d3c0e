"""Random programs as text: operators from a typed table, applied to what the program has computed so far.

NNSmith and NeuRI search for bugs of compilers in the same way: each step is an operator whose operands fit by their
types and shapes. Here whether they fit is decided by running the step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import hypothesis
from hypothesis import strategies as st

# How often a step is drawn anew because its operands do not fit.
TRIES = 12
# The most steps of a program.
LONGEST = 6


@dataclass(frozen=True)
class Op:
    """An operator as text: ``{a}``, ``{b}`` and ``{c}`` are operands, ``{p}`` and ``{q}`` one of ``p`` and of ``q``.

    ``kinds`` has a letter for each operand: f float, i whole number, b bool, s text, and n either number. ``rank`` is
    the fewest axes of the first operand. ``layer`` is the text of a layer, which the text calls as ``{layer}``.
    """

    kinds: str
    text: str
    p: Sequence[Any] = ("",)
    q: Sequence[Any] = ("",)
    rank: int = 1
    layer: str = ""


class Table(list[Op]):
    """Operators that Hypothesis does not write out."""

    def __repr__(self) -> str:
        return f"{len(self)} operators"


@dataclass(frozen=True)
class Step:
    """A line of a program: the layer that it needs, if any, and its expression."""

    name: str
    text: str
    layer: str = ""


@dataclass(frozen=True)
class Value:
    """A tensor that a program has, with an example of it."""

    name: str
    kind: str
    shape: tuple[int, ...]
    example: Any


# Runs a step with the values by their names; returns the new value, or None where the operands do not fit.
Trial = Callable[[Step, Sequence[Value]], Value | None]


@st.composite
def steps(draw: Any, ops: Sequence[Op], inputs: Sequence[Value], trial: Trial) -> list[Step]:
    """Return the steps of a program on these inputs: 2 to 6, or one of the only operator."""
    values, made = list(inputs), []
    for number in range(draw(st.integers(2, LONGEST)) if len(ops) > 1 else 1):
        for _ in range(TRIES):
            step = _step(draw, ops, values, f"v{number}")
            value = trial(step, values) if step else None
            if step and value:
                values.append(value)
                made.append(step)
                break
    hypothesis.assume(made)
    return made


def _step(draw: Any, ops: Sequence[Op], values: Sequence[Value], name: str) -> Step | None:
    op = ops[draw(st.sampled_from(range(len(ops))))]  # of the numbers: Hypothesis writes out what it samples from
    operands = []
    for position, kind in enumerate(op.kinds):
        fits = [each for each in values if _fits(each, kind) and (position or len(each.shape) > op.rank)]
        if not fits:
            return None
        # The latest value is the likeliest, so that programs are deep; Hypothesis prefers what comes first.
        operands.append(draw(st.sampled_from([*reversed(fits[-2:]), *fits[:-2], fits[-1]])))
    first = operands[0]
    names = {letter: each.name for letter, each in zip("abc", operands, strict=False)}
    sizes = {"shape": first.shape, "last": first.shape[-1], "channels": first.shape[1] if len(first.shape) > 1 else 1}
    chosen = {"p": draw(st.sampled_from(op.p)), "q": draw(st.sampled_from(op.q))}
    layer = op.layer.format(**sizes, **chosen) if op.layer else ""
    return Step(name, op.text.format(**names, **sizes, **chosen, layer=f"self.{name}"), layer)


def _fits(value: Value, kind: str) -> bool:
    return value.kind == kind or (kind == "n" and value.kind in "fi")


def drawn(strategy: st.SearchStrategy[Any], seed: int) -> Any:
    """Return the value that a strategy draws for a seed, always the same."""
    found: list[Any] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=4,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy)
    def keep(value: Any) -> None:
        found.append(value)

    keep()
    return found[-1]  # the first is the simplest, and always the same


def unused(steps_made: Sequence[Step]) -> list[str]:
    """Return the names of the values that no later step reads: the outputs of the program."""
    return [
        step.name
        for place, step in enumerate(steps_made)
        if not any(_reads(later, step.name) for later in steps_made[place + 1 :])
    ]


def _reads(step: Step, name: str) -> bool:
    import re

    return re.search(rf"\b{name}\b", step.text.replace(f"self.{step.name}(", "(")) is not None
