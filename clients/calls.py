"""The calls of a client as generators of steps that someone else performs: the part that all three clients share.

A call yields an ``Ask`` of the server or a ``Pause``, is sent the reply or thrown the error, and returns the result.
The clients differ only in how they perform a step: blocking, or awaiting.
"""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar

from modelrepo.clients import inputs as checking
from modelrepo.clients.errors import (
    ClientError,
    ConnectionLost,
    InputError,
    NotTriton,
    ServerRefused,
    ServerUnavailable,
    UnknownModel,
    nearest,
)
from modelrepo.clients.inputs import Inputs
from modelrepo.clients.models import (
    Answered,
    Array,
    Classes,
    Classification,
    IndexEntry,
    Model,
    Server,
    Statistics,
    Turn,
    read_index,
    read_model,
    read_server,
    read_statistics,
)
from modelrepo.clients.settings import Settings, check_deadline
from modelrepo.clients.shared_memory import Region, predictable

# Unregistering a shared-memory region is tried for so many seconds, even after the deadline.
LAST_SECONDS = 1.0
LET_GO_SECONDS = 0.001

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Request:
    """One inference: checked arrays, and the requested outputs.

    ``top`` requests that many best classes instead of the outputs. ``region`` is the shared memory with the tensors,
    ``microseconds`` the server's timeout, ``turn`` its place in a sequence.
    """

    model: str
    version: str
    inputs: Mapping[str, Array]
    datatypes: Mapping[str, str]
    outputs: tuple[str, ...] | None
    top: int = 0
    region: Region | None = None
    microseconds: int | None = None
    turn: Turn | None = None


@dataclass(frozen=True)
class Ask:
    """A request to the server: its name in a wire, its arguments, and the seconds until an answer is due."""

    call: str
    arguments: tuple[Any, ...]
    seconds: float | None


@dataclass(frozen=True)
class Pause:
    """Wait this many seconds."""

    seconds: float


Step = Ask | Pause
Steps = Generator[Step, Any, _Result]


class Clock:
    """Counts down the seconds of one call; None never ends."""

    def __init__(self, seconds: float | None) -> None:
        check_deadline(seconds)
        self.seconds = seconds
        self._end = None if seconds is None else monotonic() + seconds

    def left(self) -> float | None:
        """Return the seconds left, always more than 0: the wire raises the error when time is up."""
        return None if self._end is None else max(0.001, self._end - monotonic())

    def allows(self, seconds: float) -> bool:
        """Whether there is time for a pause."""
        left = self.left()
        return left is None or seconds < left


@dataclass
class Session:
    """The state of a client: its settings, and the known models by name and version.

    ``left_registered`` names the shared-memory regions that the server could not unregister at first.
    """

    settings: Settings
    models: dict[tuple[str, str], Model] = field(default_factory=dict)
    left_registered: set[str] = field(default_factory=set)

    def clock(self, deadline: float | None) -> Clock:
        """Start the clock of a call."""
        return Clock(self.settings.deadline if deadline is None else deadline)


def ask(session: Session, clock: Clock, call: str, *arguments: Any) -> Steps[Any]:
    """Ask the server; if it is unavailable, wait and ask again while the settings and the deadline allow it."""
    for pause in session.settings.retry.pauses():
        try:
            return (yield Ask(call, arguments, clock.left()))
        except ServerUnavailable:
            if not clock.allows(pause):
                raise
        yield Pause(pause)
    return (yield Ask(call, arguments, clock.left()))


def health(session: Session, clock: Clock, call: str, *arguments: str) -> Steps[bool]:
    """Ask once whether a server or a model is live or ready; False if no Triton answers."""
    try:
        return bool((yield Ask(call, arguments, clock.left())))
    except (ServerUnavailable, ConnectionLost, NotTriton):
        return False


def _read(session: Session, reader: Callable[..., _Result], *documents: Any) -> _Result:
    """Return what a reader makes of the server's documents; NotTriton if they are not Triton's."""
    try:
        return reader(*documents)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        address = session.settings.address
        raise NotTriton(f"the server at {address} is not a Triton Inference Server", "Check the URL") from error


def server(session: Session, clock: Clock) -> Steps[Server]:
    """Ask for the server's own metadata."""
    return _read(session, read_server, (yield from ask(session, clock, "server")))


def index(session: Session, clock: Clock) -> Steps[tuple[IndexEntry, ...]]:
    """Ask for the models of the server's repository."""
    return _read(session, read_index, (yield from ask(session, clock, "index")))


def load(session: Session, clock: Clock, name: str, config: Mapping[str, Any] | None) -> Steps[None]:
    """Load a model, with another configuration than that of its file if one is given; forget what is known of it."""
    check_model(name, "")
    _forget(session, name)
    yield from ask(session, clock, "load", name, None if config is None else json.dumps(config))


def unload(session: Session, clock: Clock, name: str) -> Steps[None]:
    """Ask the server to unload a model; forget what is known of it."""
    check_model(name, "")
    _forget(session, name)
    yield from ask(session, clock, "unload", name)


def _forget(session: Session, name: str) -> None:
    for known in [each for each in session.models if each[0] == name]:
        del session.models[known]


def statistics(session: Session, clock: Clock, name: str, version: str) -> Steps[tuple[Statistics, ...]]:
    """Ask for the statistics of a model's versions."""
    yield from model(session, clock, name, version)
    return _read(session, read_statistics, (yield from _known(session, clock, "statistics", name, version)))


def model(session: Session, clock: Clock, name: str, version: str) -> Steps[Model]:
    """Return a model's inputs and outputs; ask the server the first time."""
    check_model(name, version)
    known = session.models.get((name, version))
    if known is None:
        metadata = yield from _known(session, clock, "metadata", name, version)
        config = yield from _known(session, clock, "config", name, version)
        known = session.models[name, version] = _read(session, read_model, metadata, config)
    return known


def config(session: Session, clock: Clock, name: str, version: str) -> Steps[Mapping[str, Any]]:
    """Ask for a model's configuration, as the server completed it."""
    check_model(name, version)
    found: Mapping[str, Any] = _read(session, dict, (yield from _known(session, clock, "config", name, version)))
    return found


def check_model(name: object, version: object) -> None:
    """Raise InputError unless a model's name and version are valid."""
    if not isinstance(name, str) or not name:
        raise InputError(f"{name!r} is not a model name")
    if not isinstance(version, str) or not (version == "" or (version.isascii() and version.isdecimal())):
        raise InputError(f"{version!r} is not a version", 'Give its number as a string, such as "2", or "" for any')


def _known(session: Session, clock: Clock, call: str, name: str, version: str, *arguments: Any) -> Steps[Any]:
    """Ask about a model; if the server does not have it, raise UnknownModel with the models that it has."""
    try:
        return (yield from ask(session, clock, call, *(arguments or (name, version))))
    except (UnknownModel, ServerUnavailable, ConnectionLost, ServerRefused) as error:
        session.models.pop((name, version), None)
        if isinstance(error, UnknownModel):
            there = yield from index(session, clock)
            raise unknown_model(name, version, there, error) from error
        raise


def unknown_model(name: str, version: str, there: Sequence[IndexEntry], error: ClientError) -> ClientError:
    """Return the error with the models or versions that are served, for a model that is not."""
    own = [entry for entry in there if entry.name == name]
    ready = {entry.name for entry in there if entry.state == "READY"}
    if not own:
        return UnknownModel(f"the server has no model {name!r}", nearest(name, {entry.name for entry in there}))
    versions = [entry.version for entry in own if entry.state == "READY"]
    if versions and version not in versions:
        return UnknownModel(f"{name} is not served in version {version}", f"There is {', '.join(versions)}")
    reasons = "; ".join(entry.reason or entry.state or "never loaded" for entry in own if entry.state != "READY")
    if not versions:
        return UnknownModel(f"{name} is not ready: {reasons}", _load_it(own) or (nearest(name, ready) if ready else ""))
    return error


def _load_it(own: Sequence[IndexEntry]) -> str:
    """Return how a model is loaded that nobody has loaded, or that was unloaded; empty if it failed."""
    if any(entry.state and entry.reason != "unloaded" for entry in own):
        return ""
    name = own[0].name
    return f"Load it: POST /v2/repository/models/{name}/load, or `modelrepo promote {name} VERSION --url ADDRESS`"


def infer(
    session: Session,
    clock: Clock,
    name: str,
    inputs: Inputs,
    outputs: Sequence[str] | None,
    version: str,
    shared_memory: bool,
    turn: Turn | None = None,
) -> Steps[Answered]:
    """Check the inputs, ask the model, and return its outputs by name."""
    known = yield from model(session, clock, name, version)
    arrays = checking.check_inputs(known, inputs)
    names = checking.check_outputs(known, outputs)
    if shared_memory:
        return (yield from _infer_shared(session, clock, known, version, arrays, names))
    answer: Answered = yield from _infer(session, clock, known, version, arrays, names, turn=turn)
    return answer


def _infer(
    session: Session,
    clock: Clock,
    known: Model,
    version: str,
    arrays: Mapping[str, Array],
    outputs: tuple[str, ...] | None,
    top: int = 0,
    region: Region | None = None,
    turn: Turn | None = None,
) -> Steps[Any]:
    left = clock.left()
    request = Request(
        known.name,
        version,
        arrays,
        {tensor.name: tensor.datatype for tensor in known.inputs},
        outputs,
        top,
        region,
        None if left is None else int(left * 1e6),
        turn,
    )
    return (yield from _known(session, clock, "infer", known.name, version, request))


def _infer_shared(
    session: Session,
    clock: Clock,
    known: Model,
    version: str,
    arrays: Mapping[str, Array],
    names: tuple[str, ...] | None,
) -> Steps[Answered]:
    """Ask through a region of shared memory, which is always removed afterwards."""
    if not session.settings.address.on_loopback:
        raise InputError(f"{session.settings.address} is on another machine", "Ask it without shared memory")
    batch = next(iter(arrays.values())).shape[0] if known.max_batch_size else 1
    yield from give_back(session)
    wanted = tuple(tensor.name for tensor in known.outputs) if names is None else names
    region = Region(known, arrays, predictable(known, names, batch))
    try:
        yield from ask(session, clock, "register", region.name, region.key, region.size)
        try:
            answer: Answered = yield from _infer(session, clock, known, version, arrays, wanted, region=region)
        except BaseException as error:
            # A late request still uses the region; the server may be able to unregister it later.
            session.left_registered.add(region.name)
            error.add_note((yield from give_back(session)))
            raise
        yield from unregister(region.name)
        return answer
    finally:
        region.destroy()


def give_back(session: Session) -> Steps[str]:
    """Unregister every region that the server still has; return the result in words."""
    for name in tuple(session.left_registered):
        try:
            yield from unregister(name)
        except ClientError as error:
            return f"the server still has the shared memory region {name}: {error}"
        session.left_registered.discard(name)
    return "its shared memory was given back"


def unregister(name: str) -> Steps[None]:
    """Unregister a region; the server uses it for a moment after its answer."""
    clock = Clock(LAST_SECONDS)
    while True:
        try:
            yield Ask("unregister", (name,), clock.left())
            return
        except ServerRefused as error:
            if "in use" not in error.message or not clock.allows(LET_GO_SECONDS):
                raise
        yield Pause(LET_GO_SECONDS)


def classify(
    session: Session, clock: Clock, name: str, inputs: Inputs, top: int, output: str | None, version: str
) -> Steps[Classes]:
    """Ask for the best classes of every sample."""
    if top < 1:
        raise InputError(f"top is {top}", "Ask for at least 1 class")
    known = yield from model(session, clock, name, version)
    arrays = checking.check_inputs(known, inputs)
    chosen = _class_output(known, output)
    answer: Answered = yield from _infer(session, clock, known, version, arrays, (chosen,), top)
    found = answer[chosen]
    samples = found.reshape(-1, found.shape[-1]) if found.size else found.reshape(0, 0)
    classes = Classes(tuple(_classification(item) for item in sample) for sample in samples)
    classes.version = answer.version
    return classes


def _class_output(known: Model, output: str | None) -> str:
    """Return the output with the classes: the one that is named, the only one, or the only one with labels."""
    if output is not None:
        checking.check_outputs(known, (output,))
        return output
    candidates = [tensor.name for tensor in known.outputs]
    labelled = [tensor.name for tensor in known.outputs if tensor.labels]
    for names in (candidates, labelled):
        if len(names) == 1:
            return names[0]
    raise InputError(f"{known.name} has several outputs: {', '.join(candidates)}", "Name the one with the classes")


def _classification(item: bytes) -> Classification:
    """Return the class in ``score:index:label``; a label may hold colons, and is missing if the model has none."""
    score, index, *label = item.decode(errors="replace").split(":", 2)
    return Classification(label[0] if label else "", int(index), float(score))
