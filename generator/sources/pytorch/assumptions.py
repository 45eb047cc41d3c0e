"""``--assume-branch``: lines whose Python reads values of tensors, declared to answer the same for every input.

A recording of the model then holds for every input that the declaration is true of. The source refuses the others, so
that nothing is compared for which nothing is promised.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import OptionError, refused
from modelrepo.generator.sources.pytorch.places import Place, here, readable
from modelrepo.generator.sources.pytorch.reads import Read, reading
from modelrepo.generator.specs.options import Assumption
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Arrays

FLAG = "--assume-branch"
# What is read, by its line.
Answers = dict[Place, list[Any]]


def names(assumption: Assumption, place: Place) -> bool:
    """Whether an assumption is about this line: its path may leave the leading folders out."""
    written = Path(assumption.path).parts
    return assumption.line == place.line and Path(place.filename).parts[-len(written) :] == written


def written(place: Place, answer: Any) -> str:
    """Return the assumption about a line that is true of an answer, as users write it."""
    return str(Assumption(readable(place.filename), place.line, answer if isinstance(answer, bool) else None))


def assuming(source: SourceModel, assumptions: Sequence[Assumption]) -> SourceModel:
    """Return a source that refuses the inputs for which an assumption does not hold.

    Raises OptionError for an assumption about a line that reads no tensor, or that the example contradicts.
    """
    if not assumptions:
        return source
    from modelrepo.generator.verification.inputs import example, example_sizes  # imports numpy

    sizes = example_sizes(source.inputs)
    with _answers() as seen:
        source.run({spec.name: example(spec, sizes) for spec in source.inputs})
    expected = {each: _expected(each, seen) for each in assumptions}

    def run(arrays: Arrays) -> dict[str, Any]:
        with _answers() as found:
            answer = source.run(arrays)
        for assumption, value in expected.items():
            if any(not _equal(each, value) for each in _at(assumption, found)):
                raise refused(arrays, f"{FLAG} {assumption} does not hold for it")
        return answer

    return replace(source, run=run)


@contextmanager
def _answers() -> Iterator[Answers]:
    """Yield what Python reads of tensors at each line of the model's code, while the context runs."""
    found: Answers = {}

    def notice(read: Read) -> None:
        place = here()
        if place and not read.of_length:
            found.setdefault(place, []).append(read.answer)

    with reading(notice):
        yield found


def _at(assumption: Assumption, answers: Answers) -> list[Any]:
    return [each for place, some in answers.items() if names(assumption, place) for each in some]


def _expected(assumption: Assumption, seen: Answers) -> Any:
    """Return what an assumed line answers on the example."""
    answers = _at(assumption, seen)
    if not answers:
        others = ", ".join(written(place, some[0]) for place, some in seen.items())
        raise OptionError(
            f"{FLAG} {assumption}: no value of a tensor becomes Python's there",
            f"Lines with such values: {others}" if others else "The model has no such line: leave it out",
        )
    first = answers[0]
    if any(not _equal(each, first) for each in answers):
        raise OptionError(
            f"{FLAG} {assumption}: it is not the same each time within one run of the example",
            "A line that varies can't be assumed constant: write it with torch.where or torch.cond",
        )
    if assumption.side is not None and not isinstance(first, bool):
        raise OptionError(
            f"{FLAG} {assumption}: the line reads {type(first).__name__} {first}, not true or false",
            f"Assume that it stays the same: {FLAG} {replace(assumption, side=None)}",
        )
    if assumption.side is not None and first != assumption.side:
        raise OptionError(
            f"{FLAG} {assumption}: the example takes the other side",
            f"Only the side that the example takes can be recorded: {FLAG} {replace(assumption, side=first)}",
        )
    return first


def _equal(one: Any, other: Any) -> bool:
    import torch

    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    import numpy as np

    return type(one) is type(other) and bool(np.array_equal(one, other))
