"""The models that an ensemble calls, and the table of how the ``use`` of a step becomes one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import OptionError, nearest
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.ensembles import EnsembleSpec, Step
from modelrepo.generator.specs.tensors import Array, Arrays, TensorSpec
from modelrepo.generator.triton.releases import Release


@dataclass(frozen=True)
class Made:
    """A model that is made for a step: it is published as ``ENSEMBLE__STEP`` before the ensemble, if it is new.

    Its configuration is the member's, to which the version policy is added.
    """

    backend: str  # the ``backend`` of config.pbtxt, such as "python"
    files: Mapping[str, Path]  # of its version folder, by relative path: copied from there
    beside: Mapping[str, Path] = field(default_factory=dict)  # files beside the version folder, such as labels.txt
    tools: Mapping[str, str] = field(default_factory=dict)  # what it was made with: package -> version
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Member:
    """A model that an ensemble calls: in the repository already, or made for a step.

    ``reference`` computes in Python what the model must answer. It takes and gives arrays as clients send and receive
    them: by the names and with the dims of ``config``, led by the batch if ``max_batch_size`` is above 0. Elements of
    object arrays are str or bytes, and a reference accepts both. It raises InputRefused for what the model refuses.
    """

    name: str  # in the repository
    version: int  # pinned by the ensemble; 0: of a model that is still to be published
    config: Any  # a ModelConfig message
    reference: Callable[[Arrays], Mapping[str, Array]]
    # Its inputs with the values that each may have, as clients send them; empty: only what ``config`` says is known.
    inputs: tuple[TensorSpec, ...] = ()
    # Draws a count of likely inputs with a seed, each with a leading axis of samples if the model batches. None: they
    # are drawn from the domains of ``inputs``.
    likely: Callable[[int, int], Sequence[Arrays]] | None = None
    record: Manifest | None = None  # of the pinned version; None: it is still to be published
    made: Made | None = None  # None: it stands in the repository
    calls: tuple["Member", ...] = ()  # models that it calls itself, such as those of a BLS step
    # What a client has for each input that takes it as it is: "pixels", "text" or "encoded image", by its name.
    input_kinds: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """Where a member is found or made."""

    ensemble: EnsembleSpec
    repository: Repository
    release: Release  # of Triton
    folder: Path  # an empty folder for the files of this step's model
    progress: Progress
    members: Mapping[str, Member] = field(default_factory=dict)  # of the steps that were made before, by step


@dataclass(frozen=True)
class Kind:
    """How a step of one scheme becomes a member."""

    member: Callable[[Step, Site], Member]
    # Whether it is made from what other steps are: it is made after them, in the order of the file.
    reads_others: bool = False


def _of(module: str, function: str = "member") -> Callable[[Step, Site], Member]:
    """Return a function of a module of this room, which is imported when it is called: the modules need this one."""

    def member(step: Step, site: Site) -> Member:
        made: Member = getattr(import_module(f"modelrepo.generator.ensembles.{module}"), function)(step, site)
        return made

    return member


# By the scheme of ``use``; "" is a model of the repository.
KINDS: dict[str, Kind] = {
    "": Kind(_of("published")),
    "onnx": Kind(_of("published", "own")),
    "combine": Kind(_of("combine_step"), reads_others=True),
    "bls": Kind(_of("calling")),
    "cascade": Kind(_of("cascade_step")),
    "python": Kind(_of("python_step")),
    "builtin": Kind(_of("python_step", "built_in")),
    "tokenizer": Kind(_of("texts"), reads_others=True),
}


def member_of(step: Step, site: Site) -> Member:
    """Return the model of a step; errors name the step."""
    if step.scheme not in KINDS:
        raise OptionError(
            f"step {step.name!r} uses an unknown scheme: {step.use}", nearest(step.scheme, filter(None, KINDS))
        )
    return KINDS[step.scheme].member(step, site)
