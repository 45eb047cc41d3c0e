"""Descriptions of the inputs of the user's models: options, a file of samples, or the factory's annotation."""

from dataclasses import replace
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from modelrepo.generator.errors import SourceError
from modelrepo.generator.sources.pytorch.arguments import Forward
from modelrepo.generator.sources.sampled import sampled
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.tensors import InputShape
from modelrepo.generator.specs.written import input_shapes


def annotated(factory: Any, reference: str) -> tuple[InputShape, ...]:
    """Return the inputs in the text of a factory's ``-> Annotated[torch.nn.Module, "x=1x3x224x224"]``.

    Raises SourceError for one that can't be read.
    """
    annotation = getattr(factory, "__annotations__", {}).get("return")
    if annotation is None or isinstance(factory, type):
        return ()
    holder = type("Holder", (), {"__annotations__": {"return": annotation}})
    try:
        hint = get_type_hints(holder, getattr(factory, "__globals__", {}), include_extras=True)["return"]
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise SourceError(f"can't read the annotation of {reference}: {error}") from error
    texts = [each for each in get_args(hint)[1:] if isinstance(each, str)] if get_origin(hint) is Annotated else []
    try:
        return input_shapes(texts[0]) if texts else ()
    except ValueError as error:
        raise SourceError(f"the annotation of {reference}, {texts[0]!r}: {error}") from error


def shapes(options: Options, forward: Forward, said: tuple[InputShape, ...]) -> tuple[InputShape, ...]:
    """Return an example of each input: from the options, a file of samples, or else the ``said`` ones, in this order.

    Raises OptionError for samples that can't be read.
    """
    return options.input_shape or _sampled(options, forward) or said


def _sampled(options: Options, forward: Forward) -> tuple[InputShape, ...]:
    """Return the inputs in a file of samples that forward takes; all but the labels if it takes none of them."""
    from modelrepo.generator.verification import labelled

    found = sampled(options.samples, options.label_column)
    names = {each.name for each in forward.parameters}
    inputs = tuple(each for each in found if each.name.lower() not in labelled.NAMES or each.name in names)
    taken = tuple(each for each in inputs if not each.name or each.name in names or forward.any_name)
    return taken or (tuple(replace(each, name="") for each in inputs) if len(inputs) == 1 else inputs)
