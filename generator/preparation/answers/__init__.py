"""Answers as clients want them: graphs after a model, and the same in numpy or the framework's own code."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from modelrepo.generator.errors import Unsteady
from modelrepo.generator.preparation.answers.deciding import finish
from modelrepo.generator.preparation.answers.finish import Finish
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.preparation import WRAPPED, Wrapped
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Array, Arrays


def answering(source: SourceModel, options: Options, names: Sequence[str] = ()) -> SourceModel:
    """Return a source that answers with labels, boxes, maps or embeddings; ``names`` are the user's of its classes.

    Raises OptionError if nothing can be made of its outputs, or an option has no effect on it.
    """
    made = finish(source, options, names)
    wrapped = _finished(source, made)
    return replace(
        wrapped,
        own_labels=tuple(names or (source.meaning.labels if source.meaning else ()) or source.labels),
        wider=source.wider and _finished(source.wider, made),
        notes=(*source.notes, *made.notes),
    )


def _finished(source: SourceModel, made: Finish) -> SourceModel:
    """Return a source whose answers are finished; its labels and scores are no longer those of outputs."""

    def run(arrays: Arrays) -> dict[str, Any]:
        try:
            return made.run({**arrays, **_arrays(source.run(arrays))})
        except Unsteady as error:
            raise Unsteady(error.message, made.run({**arrays, **_arrays(error.answer)})) from error

    return replace(
        source,
        framework=WRAPPED,
        native=Wrapped(source, after=made.fragment),
        output_names=tuple(spec.name for spec in made.fragment.outputs),
        run=run,
        labels=(),
        scores=(),
        embeddings=made.embeddings,
        meaning=None,
    )


def _arrays(answers: dict[str, Any]) -> dict[str, Array]:
    import numpy as np

    return {name: np.asarray(answer) for name, answer in answers.items()}
