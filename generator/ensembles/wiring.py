"""Wiring the steps of an ensemble by the names of their tensors: what goes where, and whether it fits.

Every mistake is one line that names both ends. Nothing is written here.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any

from modelrepo.generator.ensembles.member import Member
from modelrepo.generator.ensembles.reference import Stage
from modelrepo.generator.ensembles.shapes import ANY, full_dims, shape_words, triton_type
from modelrepo.generator.errors import OptionError, nearest
from modelrepo.generator.specs.ensembles import EnsembleSpec, Step


@dataclass(frozen=True)
class End:
    """One end of a tensor: an input or output of a step's model; ``dims`` are its whole shape, with the batch."""

    step: str
    port: str
    verb: str  # "takes" or "gives"
    data_type: str  # Triton's, such as FP32
    dims: tuple[int, ...]
    optional: bool = False

    def __str__(self) -> str:
        return f"step {self.step!r} {self.verb} {self.data_type} {shape_words(self.dims)} as {self.port!r}"

    @property
    def where(self) -> str:
        """Its name in modelrepo.toml."""
        return f"{self.step}.{self.port}"

    def fits(self, other: "End") -> bool:
        """Whether both may be the ends of one tensor: -1 is any size."""
        pairs = zip(self.dims, other.dims, strict=False)
        alike = len(self.dims) == len(other.dims) and all(one == two or ANY in (one, two) for one, two in pairs)
        return alike and self.data_type == other.data_type


@dataclass(frozen=True)
class Wiring:
    """An ensemble that is wired: ``stages`` in an order in which each has what it takes.

    ``inputs`` has the ends that take each input of the ensemble, ``outputs`` the end that gives each output.
    """

    stages: tuple[Stage, ...]
    inputs: Mapping[str, tuple[End, ...]]
    outputs: Mapping[str, End]
    max_batch_size: int
    notes: tuple[str, ...] = ()
    models: Mapping[str, Member] = field(default_factory=dict)  # by step, before steps that are ensembles are replaced

    @property
    def members(self) -> tuple[Member, ...]:
        """The models of its steps."""
        return tuple(stage.member for stage in self.stages)


def wire(spec: EnsembleSpec, members: Mapping[str, Member]) -> Wiring:
    """Return how the steps of an ensemble are connected.

    Raises OptionError for a name that is not there, for ends that do not fit, for a tensor whose other end is not
    certain, for circles, and for steps that nothing connects or needs.
    """
    taken = {step.name: _ends(members[step.name].config, step.name, "takes") for step in spec.steps}
    given = {step.name: _ends(members[step.name].config, step.name, "gives") for step in spec.steps}
    for step in spec.steps:
        _refuse_unknown(step, "inputs", step.inputs, taken[step.name])
        _refuse_unknown(step, "outputs", step.outputs, given[step.name])
    names = _names(spec.steps, given)
    sources = _sources(spec.steps, taken, given, names)
    order = _ordered(spec.steps, sources)
    _refuse_misfits(spec.steps, taken, sources)
    outputs = _outputs(spec, given, names, sources)
    _refuse_idle(spec.steps, sources, outputs)
    _refuse_apart(spec.steps, taken, given, sources)
    largest, notes = _largest(spec, members, order)
    inputs: dict[str, tuple[End, ...]] = {}
    for step in spec.steps:
        for port, source in sources[step.name].items():
            if isinstance(source, str):
                inputs[source] = (*inputs.get(source, ()), taken[step.name][port])
    written = {end: name for name, end in outputs.items()}
    stages = tuple(
        Stage(
            name,
            members[name],
            {port: _tensor(source, written) for port, source in sources[name].items()},
            {
                port: _tensor(end, written)
                for port, end in given[name].items()
                if end in written or any(end in each.values() for each in sources.values())
            },
        )
        for name in order
    )
    return Wiring(stages, inputs, outputs, largest, notes, members)


def _ends(config: Any, step: str, verb: str) -> dict[str, End]:
    tensors, batched = (config.input if verb == "takes" else config.output), config.max_batch_size > 0
    return {
        each.name: End(
            step,
            each.name,
            verb,
            triton_type(each.data_type),
            full_dims(each, batched=batched),
            optional=bool(getattr(each, "optional", False)),
        )
        for each in tensors
    }


def _refuse_unknown(step: Step, key: str, written: Iterable[str], known: Collection[str]) -> None:
    for port in written:
        if port not in known:
            kind = key.removesuffix("s")
            raise OptionError(f"step {step.name!r}: its model has no {kind} {port!r}", nearest(port, known))


def _names(steps: Sequence[Step], given: Mapping[str, Mapping[str, End]]) -> dict[str, End]:
    """Return every name of an output of a step: STEP.OUTPUT, and what ``outputs`` calls it."""
    names = {end.where: end for ends in given.values() for end in ends.values()}
    for step in steps:
        for port, name in step.outputs.items():
            other, end = names.get(name), given[step.name][port]
            if other not in (None, end):
                raise OptionError(
                    f"{name!r} is the name of two tensors: {other} and {end}", "Write another name in outputs"
                )
            names[name] = end
    return names


# Where an input of a step comes from: the output of another, or an input of the ensemble, by its name.
Source = End | str


def _sources(
    steps: Sequence[Step],
    taken: Mapping[str, Mapping[str, End]],
    given: Mapping[str, Mapping[str, End]],
    names: Mapping[str, End],
) -> dict[str, dict[str, Source]]:
    """Return where each input of each step comes from: as written, else what can only be meant."""
    found: dict[str, dict[str, Source]] = {step.name: {} for step in steps}
    for step in steps:
        for port, written in step.inputs.items():
            found[step.name][port] = _written(step, port, written, names, given)
    for number, step in enumerate(steps):
        earlier = [each.name for each in steps[:number]]
        open_ = [end for port, end in taken[step.name].items() if port not in step.inputs]
        used = {source for each in found.values() for source in each.values() if isinstance(source, End)}
        for end in open_:
            port = end.port
            before = _first_taking(port, earlier, taken, found)
            outputs = [each for name in earlier for each in given[name].values()]
            source = _guessed(
                end,
                [each for each in outputs if each not in used or _is_called(each, port, names)],
                [each for each in open_ if not each.optional and each is not end],
                names,
                shared=before is not None and before.fits(end),
            )
            if source is not None:
                found[step.name][port] = source
    return found


def _first_taking(
    name: str,
    steps: Iterable[str],
    taken: Mapping[str, Mapping[str, End]],
    found: Mapping[str, Mapping[str, Source]],
) -> End | None:
    """Return the first end that takes an input of the ensemble; None if none does."""
    ends = (taken[step][port] for step in steps for port, source in found[step].items() if source == name)
    return next(ends, None)


def _written(
    step: Step, port: str, written: str, names: Mapping[str, End], given: Mapping[str, Mapping[str, End]]
) -> Source:
    """Return what a name in ``inputs`` stands for; OptionError for an output that a step has not."""
    if written in names:
        return names[written]
    other, dot, output = written.partition(".")
    if dot and other in given:
        raise OptionError(
            f"step {step.name!r} takes {written!r} as {port!r}, and step {other!r} gives no {output!r}",
            nearest(output, given[other]),
        )
    return written


def _is_called(output: End, name: str, names: Mapping[str, End]) -> bool:
    """Whether an output has a name: its own, or the one that ``outputs`` gives it."""
    return output.port == name or names.get(name) == output


def _guessed(
    end: End, outputs: Sequence[End], rivals: Sequence[End], names: Mapping[str, End], *, shared: bool
) -> Source | None:
    """Return where an input comes from that is not written: what has its name, else the only output that fits.

    ``rivals`` are the other inputs of the step that are not written, and ``shared`` is whether an earlier step takes an
    input of the ensemble of this name and kind. None for an optional input that nothing gives. OptionError if several
    outputs can be meant, or if an output can be meant by several inputs.
    """
    named = [each for each in outputs if _is_called(each, end.port, names) and each.fits(end)]
    if end.optional and not named:
        return None
    theirs = {each for each in outputs for rival in rivals if _is_called(each, rival.port, names) and each.fits(rival)}
    free = [each for each in outputs if each.fits(end) and each not in theirs]
    fitting: list[Source] = [*(named or free), *([end.port] if shared else [])]
    if len(fitting) > 1:
        words = " and ".join(repr(each.where) if isinstance(each, End) else f"the input {each!r}" for each in fitting)
        raise OptionError(f"{end}, and {words} fit", _choose(end, fitting))
    rival = next((each for each in rivals if not named and fitting and fitting[0] in free and free[0].fits(each)), None)
    if rival:
        raise OptionError(f"{free[0]}, and {end} and as {rival.port!r}", _choose(end, fitting))
    return fitting[0] if fitting else end.port


def _choose(end: End, fitting: Sequence[Source]) -> str:
    """Return the next step for an input that several tensors fit."""
    first = next(each.where for each in fitting if isinstance(each, End))
    return f"Write inputs = {{ {_key(end.port)} = '{first}' }} in step {end.step!r}, or the one that you mean"


def _key(name: str) -> str:
    """Return a name as a key of TOML."""
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else f"'{name}'"


def _ordered(steps: Sequence[Step], sources: Mapping[str, Mapping[str, Source]]) -> tuple[str, ...]:
    """Return the steps in an order in which each has what it takes; OptionError for a circle."""
    needs = {
        step.name: {source.step for source in sources[step.name].values() if isinstance(source, End)} for step in steps
    }
    try:
        return tuple(TopologicalSorter(needs).static_order())
    except CycleError as error:
        circle = error.args[1][::-1]
        links = [
            f"step {one!r} takes {source.where!r} as {port!r}"
            for one, two in pairwise(circle)
            for port, source in sources[one].items()
            if isinstance(source, End) and source.step == two
        ]
        raise OptionError(
            f"the steps are a circle: {', and '.join(links)}", "Take one of them from an input or an earlier step"
        ) from error


def _refuse_misfits(
    steps: Sequence[Step], taken: Mapping[str, Mapping[str, End]], sources: Mapping[str, Mapping[str, Source]]
) -> None:
    """Refuse ends of one tensor that have different types or shapes, of an input of the ensemble, too."""
    first: dict[str, End] = {}
    for step in steps:
        for port, source in sources[step.name].items():
            end = taken[step.name][port]
            other = source if isinstance(source, End) else first.setdefault(source, end)
            if not other.fits(end):
                of = "" if isinstance(source, End) else f" of the input {source!r}"
                raise OptionError(f"{other}, and {end}{of}", _mend(other, end))


def _mend(one: End, other: End) -> str:
    """Return the next step for two ends that do not fit."""
    if one.data_type != other.data_type:
        return "A step between them can convert it, or write in inputs what you mean"
    if one.dims[1:] == other.dims or one.dims == other.dims[1:]:
        return "One of them has no batches: generate both with, or both without, max_batch_size = 0"
    if len(one.dims) == len(other.dims) and one.dims[1:] == other.dims[1:]:
        return "One of them takes a fixed batch: generate it with a batch of any size (make_batch_dynamic)"
    return "A step between them can reshape it, or write in inputs what you mean"


def _outputs(
    spec: EnsembleSpec,
    given: Mapping[str, Mapping[str, End]],
    names: Mapping[str, End],
    sources: Mapping[str, Mapping[str, Source]],
) -> dict[str, End]:
    """Return the outputs of the ensemble by the names that clients know."""
    inputs = {source for each in sources.values() for source in each.values() if isinstance(source, str)}
    if spec.outputs:
        return _written_outputs(spec, given, names, inputs)
    needed = {source for each in sources.values() for source in each.values()}
    ends = [end for each in given.values() for end in each.values() if end not in needed]
    own = {end: name for name, end in names.items() if name != end.where}
    called = [own.get(end, end.port) for end in ends]
    found = {}
    for end, name in zip(ends, called, strict=True):
        clear = called.count(name) == 1 and name not in inputs
        found[name if clear else f"{end.step}_{end.port}"] = end
    return found


def _written_outputs(
    spec: EnsembleSpec, given: Mapping[str, Mapping[str, End]], names: Mapping[str, End], inputs: Collection[str]
) -> dict[str, End]:
    found: dict[str, End] = {}
    for name, written in spec.outputs.items():
        alone = [end for each in given.values() for end in each.values() if end.port == written]
        end = names.get(written) or (alone[0] if len(alone) == 1 else None)
        if end is None:
            says = f"{len(alone)} steps give {written!r}" if alone else f"no step gives {written!r}"
            raise OptionError(f"the output {name!r} can't be found: {says}", nearest(written, names))
        if name in inputs:
            raise OptionError(
                f"{name!r} is the name of an input and of an output",
                f"Write outputs = {{ {_key(f'{end.step}_{end.port}')} = '{written}' }}",
            )
        if end in found.values():
            raise OptionError(f"two outputs are {written!r}, and Triton gives a tensor once", "Leave one of them out")
        found[name] = end
    return found


def _refuse_idle(
    steps: Sequence[Step], sources: Mapping[str, Mapping[str, Source]], outputs: Mapping[str, End]
) -> None:
    """Refuse steps whose outputs nothing needs, and steps that take nothing."""
    needed = {source.step for each in sources.values() for source in each.values() if isinstance(source, End)}
    for step in steps:
        if step.name not in needed and step.name not in {end.step for end in outputs.values()}:
            raise OptionError(
                f"nothing takes what step {step.name!r} gives", f"Leave it out, or name {step.name}.OUTPUT in outputs"
            )
        if not sources[step.name]:
            raise OptionError(f"step {step.name!r} takes nothing", "Name one of its inputs in inputs")


def _refuse_apart(
    steps: Sequence[Step],
    taken: Mapping[str, Mapping[str, End]],
    given: Mapping[str, Mapping[str, End]],
    sources: Mapping[str, Mapping[str, Source]],
) -> None:
    """Refuse steps that share no tensor with the others: two pipelines, or ends that do not fit."""
    joined = {steps[0].name}
    shared = {source for source in sources[steps[0].name].values() if isinstance(source, str)}
    for _ in steps:
        for step in steps:
            own = sources[step.name].values()
            before = {source.step for source in own if isinstance(source, End)}
            after = {name for name, each in sources.items() for source in each.values() if _is_of(source, step.name)}
            if joined & {step.name, *before, *after} or shared & {source for source in own if isinstance(source, str)}:
                joined.add(step.name)
                joined |= before
                shared |= {source for source in own if isinstance(source, str)}
    apart = next((step for step in steps if step.name not in joined), None)
    if apart is None:
        return
    needed = {source for each in sources.values() for source in each.values()}
    free = [end for name in joined for end in given[name].values() if end not in needed]
    open_ = [taken[apart.name][port] for port, source in sources[apart.name].items() if isinstance(source, str)]
    if free and open_:
        raise OptionError(f"{free[-1]}, and {open_[0]}: nothing connects them", _mend(free[-1], open_[0]))
    raise OptionError(f"nothing connects step {apart.name!r} with step {steps[0].name!r}", "Name its inputs in inputs")


def _is_of(source: Source, step: str) -> bool:
    return isinstance(source, End) and source.step == step


def _largest(spec: EnsembleSpec, members: Mapping[str, Member], order: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    """Return the largest batch of an ensemble, and notes; OptionError if the user asks for more than its models take.

    Triton exempts models without batches. Such a model is handed the whole batch as its first dimension, so that must
    be one of any size; with one of another size, the ensemble has no batches either.
    """
    batched = {name: members[name].config.max_batch_size for name in order if members[name].config.max_batch_size}
    fixed = next((name for name in order if name not in batched and not _leads(members[name].config)), None)
    smallest = min(batched.values(), default=0) if fixed is None else 0
    wanted = spec.max_batch_size
    if wanted is None:
        alone = fixed and batched
        return smallest, (f"no batches: step {fixed!r} takes or gives a fixed number of rows",) if alone else ()
    if wanted > smallest:
        name = fixed or min(batched or dict.fromkeys(order, 0), key=lambda name: batched.get(name, 0))
        takes = f"at most {smallest}" if smallest else "no batches"
        raise OptionError(
            f"max_batch_size is {wanted}, and step {name!r} ({members[name].name}) takes {takes}",
            f"Write at most {smallest}, or generate {members[name].name} with --max-batch-size {wanted}",
        )
    return wanted, ()


def _leads(config: Any) -> bool:
    """Whether all tensors of a model without batches begin with a dimension of any size, as a batch would."""
    return all(each.dims and each.dims[0] == ANY for each in (*config.input, *config.output))


def _tensor(source: Source, written: Mapping[End, str]) -> str:
    """Return the name of a tensor of the ensemble: an output as clients know it, others as modelrepo.toml does."""
    return source if isinstance(source, str) else written.get(source, source.where)
