"""The tensors of an ensemble, and how its steps connect them, as Triton follows them.

Sources: core, src/model_config_utils.cc (what the configuration alone decides) and
src/ensemble_scheduler/ensemble_utils.cc (what its models decide).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelrepo.generator.lint.data import enum_name
from modelrepo.generator.lint.declared import is_complete, is_ensemble, message_of
from modelrepo.generator.lint.subject import Model, Repository


@dataclass
class Tensor:
    """A tensor of an ensemble: what it is computed from, and what from it."""

    name: str
    is_output: bool = False  # of a step
    is_ready: bool = False  # whether it can be computed from the inputs of the ensemble
    before: list[tuple[str, ...]] = field(default_factory=list)  # what each step takes that writes it
    after: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)  # the steps that take it: number, and names


@dataclass(frozen=True)
class Told:
    """What a configuration says of a tensor."""

    model: str  # whose configuration
    data_type: str
    dims: tuple[int, ...]
    batched: bool

    @property
    def full(self) -> tuple[int, ...]:
        """The dims, with the batch."""
        return (-1, *self.dims) if self.batched else self.dims

    def agrees_with(self, other: "Told") -> bool:
        """Whether both shapes may be that of one tensor: -1 is any size."""
        return _alike(self.dims, other.dims) or _alike(self.full, other.full)


def _alike(one: Sequence[int], other: Sequence[int]) -> bool:
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(a == b or -1 in (a, b) for a, b in pairs)


def told(model: str, tensor: Any, dims: Sequence[int], batched: bool) -> Told:
    """Return what a model says of a tensor."""
    return Told(model, enum_name(tensor, "data_type"), tuple(dims), batched)


def own_tensors(name: str, config: Any) -> dict[str, Told]:
    """Return what an ensemble says of its inputs and outputs: with their reshape, and the first of each name."""
    found: dict[str, Told] = {}
    for tensor in (*config.input, *config.output):
        dims = tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims
        found.setdefault(tensor.name, told(name, tensor, dims, config.max_batch_size > 0))
    return found


def tensors(config: Any) -> dict[str, Tensor]:
    """Return the tensors that the steps of an ensemble name, with their ways, and whether they can be computed."""
    graph: dict[str, Tensor] = {}
    for number, step in enumerate(config.ensemble_scheduling.step):
        read, written = (tuple(dict.fromkeys(names.values())) for names in (step.input_map, step.output_map))
        for name in written:
            tensor = graph.setdefault(name, Tensor(name))
            tensor.is_output = True
            tensor.before += [read] if read else []
        for name in read:
            graph.setdefault(name, Tensor(name)).after += [(number, written)] if written else []
    _follow(graph, [graph[tensor.name] for tensor in config.input if tensor.name in graph])
    return graph


def _follow(graph: Mapping[str, Tensor], ready: list[Tensor]) -> None:
    """Mark what can be computed: a tensor when all are ready that a step takes which writes it."""
    inputs_left: dict[int, int] = {}  # of each step
    steps_left = {name: len(tensor.before) for name, tensor in graph.items()}
    for tensor in graph.values():
        for number, _ in tensor.after:
            inputs_left[number] = inputs_left.get(number, 0) + 1
    for tensor in ready:
        tensor.is_ready = True
    done: set[str] = set()
    for tensor in ready:  # grows
        for number, written in tensor.after if tensor.name not in done else ():
            inputs_left[number] -= 1
            for name in written if not inputs_left[number] else ():
                steps_left[name] -= 1
                if not steps_left[name] and not graph[name].is_ready:
                    graph[name].is_ready = True
                    ready.append(graph[name])
        done.add(tensor.name)


def not_connected(graph: Mapping[str, Tensor], name: str) -> str:
    """Return the tensor for want of which another can't be computed; itself if it is its own reason."""
    last, seen = name, set[str]()
    while True:
        before = (each for step in graph[last].before for each in step)
        waiting = (each for each in before if not graph[each].is_ready and each not in seen)
        found = next(waiting, None)
        if found is None:
            return last
        seen.add(found)
        last = found


def members(config: Any) -> tuple[str, ...]:
    """Return the names of the models of an ensemble, each once."""
    return tuple(dict.fromkeys(step.model_name for step in config.ensemble_scheduling.step))


def model_named(name: str, repository: Repository) -> Model | None:
    """Return the model that a step names, of those that are served together; None if there is none."""
    together = (repository, *repository.beside)
    return next((each.models[name] for each in together if name in each.models), None)


def known_config(model: Model | None) -> Any:
    """Return the configuration of a model; None if it can't be known here what it is when the model is loaded."""
    config = message_of(model)
    return config if config is not None and model is not None and is_complete(model, config) else None


def members_of(name: str, repository: Repository) -> tuple[str, ...]:
    """Return the names of the models of an ensemble; nothing for what is none."""
    key = ("members", name)
    if key not in repository.memo:
        config = message_of(model_named(name, repository))
        repository.memo[key] = members(config) if config is not None and is_ensemble(config) else ()
    found: tuple[str, ...] = repository.memo[key]
    return found


def way_back(start: str, config: Any, repository: Repository) -> str:
    """Return the last ensemble of a way on which an ensemble depends on itself; nothing if there is no way."""
    own = members(config)
    if own == members_of(start, repository) and _ends(start, repository):
        return ""
    waiting = dict.fromkeys(own, start)
    seen: set[str] = set()
    while waiting:
        name, before = waiting.popitem()
        if name == start:
            return before
        if name not in seen:
            seen.add(name)
            waiting |= dict.fromkeys(members_of(name, repository), name)
    return ""


def _ends(name: str, repository: Repository) -> bool:
    """Whether no way through the models that a model needs goes on for ever. Each model is looked at once."""
    memo = repository.memo
    if ("ends", name) not in memo:
        # Those that it needs come first, but for those in a circle.
        for each in dependencies(name, repository, lambda each: ("ends", each) in memo):
            memo["ends", each] = all(memo.get(("ends", other), False) for other in members_of(each, repository))
    return bool(memo["ends", name])


def dependencies(name: str, repository: Repository, known: Callable[[str], bool]) -> list[str]:
    """Return all models that a model needs, and it: each behind those that it needs, as far as they do not need it.

    Those that are known, and what only they need, are left out: each model of a long chain is asked about.
    """
    order: list[str] = []
    seen, ways = {name}, [(name, iter(members_of(name, repository)))]
    while ways:
        at, following = ways[-1]
        found = next((each for each in following if each not in seen and not known(each)), None)
        if found is None:
            order.append(at)
            ways.pop()
        else:
            seen.add(found)
            ways.append((found, iter(members_of(found, repository))))
    return order


@dataclass(frozen=True)
class Flow:
    """How an ensemble answers: whether with any number of responses, and which steps can't be given their inputs."""

    is_decoupled: bool
    mixing: tuple[str, ...] = ()  # models whose inputs come from different decoupled models; the ensemble for outputs


def flow(name: str, config: Any, repository: Repository) -> Flow:
    """Return how a model answers; of an ensemble, with the models that it has, as far as they can be known."""
    if not is_ensemble(config):
        return Flow(config.model_transaction_policy.decoupled)
    memo, steps = repository.memo, config.ensemble_scheduling.step
    for member in members(config):
        if ("decoupled", member) in memo:
            continue
        for each in dependencies(member, repository, lambda each: ("decoupled", each) in memo):
            memo["decoupled", each] = False  # of a cycle
            own = known_config(model_named(each, repository))
            memo["decoupled", each] = own is not None and flow(each, own, repository).is_decoupled
    return _labelled(name, config, [memo["decoupled", step.model_name] for step in steps])


def _labelled(name: str, config: Any, decoupled: Sequence[bool]) -> Flow:
    """Follow an ensemble from its inputs: each tensor has the label of the last decoupled step that it went through."""
    labels = {tensor.name: 0 for tensor in config.input}
    steps = config.ensemble_scheduling.step
    reads = [tuple(step.input_map.values()) for step in steps]
    left = [len({*names} - labels.keys()) for names in reads]
    readers: dict[str, list[int]] = {}
    for number, names in enumerate(reads):
        for each in {*names}:
            readers.setdefault(each, []).append(number)
    count, mixing = 0, []
    ready = [number for number, names in enumerate(left) if not names]
    while ready:
        following = []
        for number in ready:
            written = {each for each in steps[number].output_map.values() if each not in labels}
            before = [labels[each] for each in reads[number]]
            if written and len(set(before)) > 1:
                mixing.append(steps[number].model_name)
            if decoupled[number] and written:
                count += 1
            label = count if decoupled[number] else next(iter(before), 0)
            labels |= dict.fromkeys(written, label)
            for each in (reader for name in written for reader in readers.get(name, ())):
                left[each] -= 1
                following += [] if left[each] else [each]
        ready = sorted(following)
    results = {labels.get(tensor.name) for tensor in config.output}
    if len(results) > 1 and None not in results:
        mixing.append(name)
    return Flow(count > 0, tuple(mixing))


def steps_with_configs(config: Any, repository: Repository) -> Iterator[tuple[int, Any, Any]]:
    """Yield each step of an ensemble, with the configuration of its model; None if that is not known."""
    for number, step in enumerate(config.ensemble_scheduling.step):
        yield number, step, known_config(model_named(step.model_name, repository))
