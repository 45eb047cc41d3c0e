"""The models that others call by themselves: Triton loads the steps of an ensemble with it, and not these."""

from collections.abc import Iterable
from pathlib import Path

from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.repository.lifecycle import pins


def with_called(repository: Path, models: Iterable[str]) -> tuple[str, ...]:
    """Return models with all that they need, each once: those that Triton doesn't load by itself among them."""
    found: dict[str, None] = {}
    waiting = list(models)
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        found[name] = None
        try:
            text = (repository / name / CONFIG).read_text("utf-8", errors="replace")
        except OSError:  # Triton reports it
            continue
        waiting += [pin.model for pin in pins.of_config(name, text)]
    return tuple(found)
