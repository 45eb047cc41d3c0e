"""Graphs before and after a model: pictures and texts as clients have them, answers as clients want them."""

from collections.abc import Sequence

from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.preparation import WRAPPED
from modelrepo.generator.specs.source import SourceModel


def wrapped(source: SourceModel, options: Options, names: Sequence[str] = ()) -> SourceModel:
    """Return a source that takes what clients have, and answers with what they want, as the options ask for.

    ``names`` are those that the user gives the classes, if they are to be answered. Its ``run`` is the source's
    own pipeline, as far as a graph can do the same. Raises OptionError for a source whose pipeline is not known, or
    can't be a graph. Texts are prepared by a step before the model, in an ensemble.
    """
    if options.with_postprocessing:
        from modelrepo.generator.preparation.answers import answering  # imports numpy, which no help page needs

        source = answering(source, options, names)
    texts = source.preparation is not None and source.preparation.kind == "text"
    if options.with_preprocessing and not texts:
        from modelrepo.generator.preparation.pictures import pictured  # imports numpy, which no help page needs

        source = pictured(source, options)
    return source


def innermost(source: SourceModel) -> SourceModel:
    """Return the source that is wrapped, without graphs around it; the source itself if there are none."""
    while source.framework == WRAPPED:
        source = source.native.inner
    return source
