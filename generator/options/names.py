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
    pruned = "_pruned" if options.prune else ""
    lowered = "" if choice.precision == "fp32" else "_{precision}"
    own = "{model}" if len(options.backends) == 1 else "{model}_{backend}"
    template = options.name_template or f"{own}{pruned}{lowered}"
    # Triton takes no "+" in a name.
    return check_name(template.format(model=name, backend=choice.backend.replace("+", "-"), precision=choice.precision))
