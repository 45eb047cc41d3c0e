"""The weights of named architectures: random ones, those of a file, or the published ones."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from modelrepo.generator.errors import SourceError
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import pytorch
from modelrepo.generator.sources.pytorch import state_dict
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.system import memory
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.system.quiet import quiet

RANDOM: Literal["random"] = "random"
PRETRAINED = "pretrained"


class Absent(SourceError):
    """Published weights are not available: the remedy, and the file that would hold them, if known."""

    def __init__(self, message: str, remedy: str, expected_at: Path | None = None) -> None:
        super().__init__(message, f"Use --weights random for an untrained model, or {remedy}")
        self.remedy, self.expected_at = remedy, expected_at


@dataclass(frozen=True)
class Architecture:
    """A network without weights."""

    name: str
    # Builds it, a ``torch.nn.Module``, for a number of classes.
    build: Callable[[int], Any]
    # The number of classes that it is published with.
    classes: int
    # The bytes of its weights.
    size: int
    # Builds the network for random weights, if that differs.
    untrained: Callable[[], Any] | None = None
    # Builds the network that a state dict was saved from, for a number of classes, if that differs.
    saved: Callable[[dict[str, Any], int], Any] | None = None


Published = Callable[[Progress], tuple[Any, Weights]]


def load(architecture: Architecture, published: Published, options: Options, progress: Progress) -> tuple[Any, Weights]:
    """Return a network in evaluation mode with the weights that the options ask for, and where these came from.

    ``published`` loads its own weights, and raises Absent if they are not available: then the network gets random ones
    if the options allow it. Raises SourceError for weights that can't be loaded.
    """
    memory.check(architecture.size, architecture.name)
    with quiet():
        if options.weights == RANDOM:
            module, weights = _untrained(architecture, options)
        elif options.weights != PRETRAINED:
            path = Path(options.weights)
            module = fitted(architecture, state_dict.read_state(path, options.trust_source), path)
            weights = Weights("file", path.name, untrained=False, sha256=sha256_of(path))
        else:
            module, weights = _published(architecture, published, options, progress)
    return module.eval(), weights


def _untrained(architecture: Architecture, options: Options, expected_at: Path | None = None) -> tuple[Any, Weights]:
    build = architecture.untrained or (lambda: architecture.build(architecture.classes))
    module = pytorch.seeded(build, options.seed)
    where = str(expected_at) if expected_at else None
    return module, Weights(RANDOM, f"seed {options.seed}", untrained=True, expected_at=where)


def _published(
    architecture: Architecture, published: Published, options: Options, progress: Progress
) -> tuple[Any, Weights]:
    try:
        return published(progress)
    except Absent as error:
        if not options.allow_untrained:
            raise
        progress.warn(
            f"{error.message}; {architecture.name} gets RANDOM weights (seed {options.seed}) because modelrepo.toml "
            f"says allow_untrained = true: its answers mean nothing. For its own, {error.remedy}, and run again"
        )
        return _untrained(architecture, options, error.expected_at)


def fitted(architecture: Architecture, state: dict[str, Any], origin: Path) -> Any:
    """Build the network that ``state`` fits, even if it was trained on another number of classes."""
    state = state_dict.bare(state)
    saved = architecture.saved
    build = architecture.build if saved is None else partial(saved, state)
    module = build(architecture.classes)
    state = state_dict.bare(state, module.state_dict())
    classes = _classes(module.state_dict(), state, architecture.classes)
    if classes != architecture.classes:
        module = build(classes)
    state_dict.fit(module, _counted(module.state_dict(), state), origin, architecture.name)
    return module


def _classes(own: dict[str, Any], state: dict[str, Any], classes: int) -> int:
    """Return the number of classes that explains every tensor of another length: a detector has some rows for each.

    Returns ``classes``, the number of ``own``, if there is no such number.
    """
    found = set()
    for key in state.keys() & own.keys():
        theirs, ours = state[key].shape, own[key].shape
        if theirs != ours:
            fits = len(theirs) == len(ours) > 0 and theirs[1:] == ours[1:] and theirs[0] * classes % ours[0] == 0
            found.add(theirs[0] * classes // ours[0] if fits else 0)
    return found.pop() if len(found) == 1 and min(found) > 0 else classes


def _counted(own: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """Return a state with counters of batch norms: those frozen in training have none, and don't need them."""
    lacking = own.keys() - state.keys()
    if not all(key.endswith("num_batches_tracked") for key in lacking):
        return state
    return {**state, **{key: own[key] for key in lacking}}
