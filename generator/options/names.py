"""The names of published models."""

import re

from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.options import Choice, Options

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def check_name(name: str) -> str:
    """Return ``name`` if Triton and a file system can take it as a model's name, else raise OptionError."""
    if not MODEL_NAME.fullmatch(name):
        raise OptionError(
            f"{name!r} can't be a model's name",
            "Start with a letter or digit, then use letters, digits, '_', '.' and '-'",
        )
    return name


def published_name(name: str, options: Options, choice: Choice) -> str:
    """Return the name that a choice's model is published under."""
    alone, among_others = default_templates(options)
    default = alone if len(options.backends) == 1 else among_others
    return filled_in(options.name_template or default, name, choice)


def default_templates(options: Options) -> tuple[str, str]:
    """Return the templates of names for one backend, and for several."""
    end = f"{'_pruned' if options.prune else ''}{{_precision}}"
    return f"{{model}}{end}", f"{{model}}_{{backend}}{end}"


def filled_in(template: str, name: str, choice: Choice) -> str:
    """Return a template's name for a choice of the model ``name``; OptionError if Triton can't take it.

    ``{_precision}`` is the precision after an underscore, and nothing for FP32.
    """
    lowered = "" if choice.precision == "fp32" else f"_{choice.precision}"
    # Triton takes no "+" in a name.
    backend = choice.backend.replace("+", "-")
    return check_name(template.format(model=name, backend=backend, precision=choice.precision, _precision=lowered))
