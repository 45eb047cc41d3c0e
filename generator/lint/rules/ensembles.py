"""Ensembles: their steps, what flows between them, and the models that they need."""

from collections.abc import Iterable, Iterator
from functools import partial

from modelrepo.generator.lint.completed import completed
from modelrepo.generator.lint.declared import is_ensemble, message_of
from modelrepo.generator.lint.ensemble import (
    Told,
    dependencies,
    flow,
    members,
    model_named,
    not_connected,
    own_tensors,
    steps_with_configs,
    tensors,
    told,
    way_back,
)
from modelrepo.generator.lint.finding import Edit, Place, Problem
from modelrepo.generator.lint.refusal import refused
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.selected import selected
from modelrepo.generator.lint.subject import Case
from modelrepo.generator.lint.text import Key

PLATFORM = "ensemble"
# By which Triton guesses a backend, for an ensemble too.
GUESSED = ("model.plan", "model.onnx", "model.xml", "model.pt", "model.py")
NEWEST = -1


def fields(case: Case) -> Iterator[Problem]:
    """Find what an ensemble lacks, and what it must not have."""
    config, name = case.config.message, case.model.name
    place, write = case.config.place, "Leave {} out: the models of the ensemble have their own"
    if not is_ensemble(config):
        if config.platform == PLATFORM and config.backend:
            words = f"Ensemble model '{name}' must have platform type '{PLATFORM}' and empty backend type"
            yield refused(place("backend"), words, "Leave platform out; an ensemble has steps instead of a backend")
        elif config.platform == PLATFORM:
            words = f"ensemble scheduling must be set for ensemble {name} whose platform is {PLATFORM}"
            yield refused(place("platform"), words, "Write ensemble_scheduling, with a step for each model")
        return
    if config.platform != PLATFORM:
        words = f"ensemble scheduling cannot be set for model '{name}' whose platform is not {PLATFORM}"
        if completed(case.model, config, case.host.release.container).undetermined:
            words = (
                f"Invalid model name: Could not determine backend for model '{name}' with no backend in model "
                "configuration. Expected model name of the form 'model.<backend_name>'."
            )
        where = place("platform") if config.platform else place("ensemble_scheduling")
        yield refused(where, words, 'Write platform: "ensemble"')
    elif config.backend or config.default_model_filename in GUESSED:
        words = f"Ensemble model '{name}' must have platform type '{PLATFORM}' and empty backend type"
        field = "backend" if config.backend else "default_model_filename"
        yield refused(place(field), words, f"Leave {field} out")
    if config.instance_group:
        words = f"instance group should not be specified for ensemble '{name}'"
        yield refused(place("instance_group"), words, write.format("instance_group"))
    if config.HasField("optimization"):
        words = f"optimization should not be specified for ensemble '{name}'"
        yield refused(place("optimization"), words, write.format("optimization"))
    if config.model_warmup:
        words = f"model_warmup can not be specified for ensemble '{name}'"
        yield refused(place("model_warmup"), words, write.format("model_warmup"))


def steps(case: Case) -> Iterator[Problem]:
    """Find an ensemble without steps, and steps without a model or a map."""
    config, name = case.config.message, case.model.name
    if not is_ensemble(config):
        return
    if not config.ensemble_scheduling.step:
        yield refused(
            case.config.place("ensemble_scheduling"), f"must specify 'step' for ensemble '{name}'", STEP.write
        )
    for number, step in enumerate(config.ensemble_scheduling.step):
        for field in ("model_name", "input_map", "output_map"):
            if not getattr(step, field):
                words = f"must specify '{field}' in step {number} of ensemble '{name}'"
                yield refused(_step(case, number), words, f"Write {field} in this step")


def connections(case: Case) -> Iterator[Problem]:
    """Find tensors of an ensemble that nothing computes, or nothing needs, or that two steps write."""
    config, name = case.config.message, case.model.name
    if not is_ensemble(config) or any(steps(case)):
        return
    written: set[str] = set()
    for number, step in enumerate(config.ensemble_scheduling.step):
        for key, tensor in step.output_map.items():
            if tensor in written:
                words = f"ensemble tensor '{tensor}' can appear in an output map only once for ensemble '{name}'"
                yield refused(_step(case, number, "output_map", Key(key)), f"{words} step {number}", FLOW_TWICE)
            written.add(tensor)
    yield from _unconnected(case)


def _unconnected(case: Case) -> Iterator[Problem]:
    """Find tensors that nothing computes, or nothing needs."""
    config, name = case.config.message, case.model.name
    graph = tensors(config)
    for field in ("input", "output"):
        for number, tensor in enumerate(getattr(config, field)):
            if tensor.name not in graph:
                words = f"ensemble {field} '{tensor.name}' for ensemble {name} is not used"
                yield refused(case.config.place(field, number), words, FLOW_UNUSED)
            elif field == "output" and not graph[tensor.name].is_ready:
                words = f"output '{tensor.name}' for ensemble '{name}' is not written"
                source = not_connected(graph, tensor.name)
                if source != tensor.name:
                    words += f": at least one of its depending tensors, '{source}', is not connected"
                yield refused(case.config.place(field, number), words, FLOW_WRITTEN)
    outputs = {tensor.name for tensor in config.output}
    for tensor in graph.values():
        if tensor.name not in outputs and not (tensor.is_ready and tensor.after):
            words = f"ensemble tensor '{tensor.name}' is unused in ensemble '{name}'"
            yield refused(_place_of(case, tensor.name), words, FLOW.write if tensor.is_ready else FLOW_SOURCE)


def versions(case: Case) -> Iterator[Problem]:
    """Find an ensemble without a folder of a version."""
    config = case.config.message
    if is_ensemble(config) and not case.model.versions and not selected(case.model, config):
        words = f"at least one version must be available under the version policy of model '{case.model.name}'"
        yield refused(Place(case.model.folder), words, VERSIONS.write)


def available(case: Case) -> Iterator[Problem]:
    """Find models of an ensemble that are not there, that Triton refuses, or that need the ensemble."""
    if not is_ensemble(case.config.message):
        return
    for name in members(case.config.message):
        model = model_named(name, case.repository)
        place = _place_of_model(case, name)
        if not name:
            continue
        if model is None:
            words = f"ensemble {case.model.name} contains models that are not available or ambiguous: {name}"
            yield refused(place, words, "Write the name of a model of this repository")
        elif name != case.model.name and _is_refused(name, case):
            says = f"Triton refuses the model, because it refuses {name}, which the ensemble needs"
            yield Problem(place, says, f"Mend {name} first: what is wrong with it is told there")
    last = way_back(case.model.name, case.config.message, case.repository)
    if last:
        own = case.model.name
        words = f"circular dependency between ensembles: {own} -> ... -> {last} -> {own}"
        place = case.config.place("ensemble_scheduling")
        yield refused(place, words, "Write steps with models that do not need this ensemble")


def _is_refused(name: str, case: Case) -> bool:
    """Whether Triton refuses a model. Those that it needs are judged first, and each once."""
    memo = case.repository.memo
    if ("refused", name, case.host) not in memo:
        memo["refused", name, case.host] = False  # of what needs itself, a cycle is told
        for each in dependencies(name, case.repository, lambda each: ("refused", each, case.host) in memo):
            if each == name or ("refused", each, case.host) not in memo:
                memo["refused", each, case.host] = _has_errors(each, case)
    return bool(memo["refused", name, case.host])


def _has_errors(name: str, case: Case) -> bool:
    """Whether a rule finds an error in a model of the repository for which the core or a backend refuses it."""
    from modelrepo.generator.lint.rules import rules  # the table, in which this module is a row

    model = model_named(name, case.repository)
    if model is None:
        return True
    case.repository.memo["refused", name, case.host] = False
    judged, parsed = Case(model, case.repository, case.host), message_of(model) is not None
    asked = (rule for rule in rules() if rule.severity == "error" and rule.decided_by not in ("advice", "dynamo"))
    asked = (rule for rule in asked if rule.holds_for(case.host.release.container))
    return any(_finds(rule, judged) for rule in asked if parsed or not rule.needs_config)


def _finds(rule: Rule, case: Case) -> bool:
    try:
        return any(True for _ in rule.check(case))
    except Exception:  # it is told where the model itself is judged
        return False


def required_versions(case: Case) -> Iterator[Problem]:
    """Find steps that ask for a version that is not served: 0 where none is written."""
    for number, step in enumerate(case.config.message.ensemble_scheduling.step):
        model = model_named(step.model_name, case.repository)
        if model is None or step.model_version == NEWEST:
            continue
        config = message_of(model)
        loaded = tuple(model.versions)[-1:] if config is None else selected(model, config)
        if step.model_version not in loaded:
            words = f"ensemble '{case.model.name}' depends on '{step.model_name}' whose required version "
            place = _step(case, number, "model_version")
            edits = _newest(case, number) if step.model_version == 0 else ()
            yield refused(place, f"{words}{step.model_version} is not loaded.", VERSION.write, edits)


def _newest(case: Case, number: int) -> tuple[Edit, ...]:
    """Return the change by which a step asks for the newest version."""
    scheduling = case.config.tree.fields.get("ensemble_scheduling", [])
    written = [step for each in scheduling for step in each.fields.get("step", [])][number : number + 1]
    for step in written:
        for node in step.fields.get("model_version", []):
            return (Edit(case.config.path, node.begins, node.ends, str(NEWEST)),)
        for node in step.fields.get("model_name", []):
            return (Edit(case.config.path, node.ends, node.ends, f" model_version: {NEWEST}"),)
    return ()


def batches(case: Case) -> Iterator[Problem]:
    """Find models that take smaller batches than their ensemble."""
    config = case.config.message
    for number, step, own in steps_with_configs(config, case.repository):
        if own is not None and own.max_batch_size != 0 and own.max_batch_size < config.max_batch_size:
            words = (
                f"ensemble {case.model.name} allows maximum batch size {config.max_batch_size}, but it contains model "
            )
            words += f"{step.model_name} which only allows maximum batch size to be {own.max_batch_size}"
            write = f"Write at most max_batch_size: {own.max_batch_size} for the ensemble"
            yield refused(_step(case, number, "model_name"), words, write)


def maps(case: Case) -> Iterator[Problem]:
    """Find maps to inputs and outputs that a model has not, and inputs of a model that no map names."""
    config = case.config.message
    for number, step, own in steps_with_configs(config, case.repository):
        if own is None or not (step.input_map and step.output_map):
            continue
        start = f"in ensemble {case.model.name}, "
        inputs, outputs = [tensor.name for tensor in own.input], [tensor.name for tensor in own.output]
        for key, tensor in step.input_map.items():
            if key not in inputs:
                words = f"{start}ensemble tensor {tensor} is mapping to non-existing input {key} in model "
                yield refused(_step(case, number, "input_map", Key(key)), words + step.model_name, _named(inputs))
        for tensor in own.input:
            if tensor.name not in step.input_map and not tensor.optional:
                words = f"{start}input {tensor.name} in model {step.model_name} is not mapped to any ensemble tensors"
                yield refused(_step(case, number), words, f'Write input_map {{ key: "{tensor.name}" … }}')
        for key, tensor in step.output_map.items():
            if key not in outputs:
                words = f"{start}ensemble tensor {tensor} is mapped from non-existing output {key} in model "
                yield refused(_step(case, number, "output_map", Key(key)), words + step.model_name, _named(outputs))
            elif outputs.count(key) > 1:
                words = f"{start}multiple outputs in model {step.model_name} are mapped to the same ensemble tensor "
                yield refused(_step(case, number, "output_map", Key(key)), words + tensor, FLOW_TWICE)


def types(case: Case) -> Iterator[Problem]:
    """Find tensors of which two models say different types or shapes."""
    config = case.config.message
    if not is_ensemble(config):
        return
    known: dict[str, Told | None] = dict(own_tensors(case.model.name, config))
    for number, step, own in steps_with_configs(config, case.repository):
        if own is None:
            for tensor in (*step.input_map.values(), *step.output_map.values()):
                known.setdefault(tensor, None)
            continue
        for field, given, mapped in (
            ("input_map", own.input, step.input_map),
            ("output_map", own.output, step.output_map),
        ):
            for tensor in given:
                if tensor.name in mapped:
                    said = told(step.model_name, tensor, tensor.dims, own.max_batch_size > 0)
                    place = _step(case, number, field, Key(tensor.name))
                    yield from _inconsistent(place, case, mapped[tensor.name], known, said)


def _inconsistent(place: Place, case: Case, name: str, known: dict[str, Told | None], said: Told) -> Iterator[Problem]:
    """Find what a model says of a tensor that does not fit what was said before; the first to say anything is right."""
    first = known.setdefault(name, said)
    if first is None:
        return
    start = f"in ensemble {case.model.name}, ensemble tensor {name}: inconsistent "
    if first.data_type != said.data_type:
        words = f"data type: {first.data_type} is inferred from model {first.model} while {said.data_type} is inferred"
        yield refused(place, f"{start}{words} from model {said.model}", TYPES.write)
    elif not first.agrees_with(said):
        shapes = [f"[{','.join(str(size) for size in each.full)}]" for each in (first, said)]
        words = f"shape: {shapes[0]} is inferred from model {first.model} while {shapes[1]} is inferred"
        yield refused(place, f"{start}{words} from model {said.model}", TYPES.write)


def decoupled(case: Case) -> Iterator[Problem]:
    """Find steps whose inputs come from different decoupled models."""
    if is_ensemble(case.config.message):
        for name in flow(case.model.name, case.config.message, case.repository).mixing:
            words = f"in ensemble {case.model.name}, step of model '{name}' receives inputs originated from different "
            yield refused(_place_of_model(case, name), f"{words}decoupled models", DECOUPLED.write)


def cache(case: Case) -> Iterator[Problem]:
    """Find a response cache of an ensemble that is decoupled because one of its models is."""
    config = case.config.message
    if not is_ensemble(config) or not config.response_cache.enable or config.model_transaction_policy.decoupled:
        return
    if flow(case.model.name, case.config.message, case.repository).is_decoupled:
        words = (
            f"Response Cache does not currently support model {case.model.name} with 'decoupled' transaction policy."
        )
        yield refused(case.config.place("response_cache"), f"{words} Please disable the response cache.", CACHE.write)


def _step(case: Case, number: int, *path: "str | Key") -> Place:
    return case.config.place("ensemble_scheduling", "step", number, *path)


def _place_of_model(case: Case, name: str) -> Place:
    """Return the place of the first step of a model; of the ensemble's steps if it has none."""
    for number, step in enumerate(case.config.message.ensemble_scheduling.step):
        if step.model_name == name:
            return _step(case, number, "model_name")
    return case.config.place("ensemble_scheduling")


def _place_of(case: Case, name: str) -> Place:
    """Return the first place that names a tensor."""
    for number, step in enumerate(case.config.message.ensemble_scheduling.step):
        for field in ("input_map", "output_map"):
            for key, tensor in getattr(step, field).items():
                if tensor == name:
                    return _step(case, number, field, Key(key))
    return case.config.place("ensemble_scheduling")


def _named(names: Iterable[str]) -> str:
    return f"Write one of those that the model has: {', '.join(names) or 'it has none'}"


_refusal = partial(Rule, severity="error", seen="2.51")

FIELDS = _refusal(
    code="ENS",
    title="an ensemble has fields of other models, or a model those of an ensemble",
    triton='Triton refuses the model: an ensemble has platform "ensemble" and ensemble_scheduling, and no backend, '
    "instance_group, optimization or model_warmup.",
    write='Write platform: "ensemble" and ensemble_scheduling, and none of the others',
    check=fields,
)
STEP = _refusal(
    code="ENS-STEP",
    title="an ensemble has no steps, or a step lacks its model or a map",
    triton="Triton refuses the model: \"must specify 'step'\", or \"must specify 'model_name'\", 'input_map' or "
    "'output_map' \"in step …\".",
    write="Write a step for each model, with model_name, input_map and output_map",
    check=steps,
)
FLOW_TWICE = "Write another tensor: each is written by one output of one step"
FLOW_UNUSED = "Write it as the value of a map of a step, or leave it out"
FLOW_SOURCE = "Write an input of the ensemble, or an output_map of a step, for each tensor that a step reads"
FLOW_WRITTEN = "Write an output_map of which it is the value, in a step whose inputs can be computed"
FLOW = _refusal(
    code="ENS-FLOW",
    title="a tensor of an ensemble is never computed, never used, or written twice",
    triton='Triton refuses the model: "… is not used", "… is not written", "… is unused in ensemble" or "… can appear '
    'in an output map only once".',
    write="Write an output of the ensemble, or an input_map, for each tensor that a step writes",
    check=connections,
)
VERSIONS = _refusal(
    code="VDIR-ENS",
    title="an ensemble has no version",
    triton='Triton refuses the model: "at least one version must be available under the version policy".',
    write="Write an empty folder named 1 into the folder of the ensemble",
    check=versions,
)
AVAILABLE = _refusal(
    code="ENS-MODEL",
    title="a model of an ensemble is not there, is refused, or needs the ensemble itself",
    triton='Triton refuses the model: "… contains models that are not available", "… which is not valid" or "circular '
    'dependency between ensembles". A model that needs two ensembles that need each other kills the server.',
    write="Write models of this repository that load without the ensemble",
    check=available,
)
VERSION = _refusal(
    code="ENS-VER",
    title="a step asks for a version that is not served",
    triton='Triton refuses the model: "… whose required version 0 is not loaded": a step without model_version asks '
    "for version 0.",
    write="Write model_version: -1 for the newest version",
    check=required_versions,
    fixable=True,
)
BATCHES = _refusal(
    code="ENS-MBS",
    title="a model takes smaller batches than its ensemble",
    triton='Triton refuses the model: "ensemble … allows maximum batch size …, but it contains model … which only '
    'allows …". Models with max_batch_size 0 are exempt.',
    write="Write a max_batch_size that each model takes",
    check=batches,
)
MAPS = _refusal(
    code="ENS-MAP",
    title="a map names an input or output that the model has not, or an input is not mapped",
    triton='Triton refuses the model: "… is mapping to non-existing input …", "… is not mapped to any ensemble '
    'tensors" or "… is mapped from non-existing output …". Optional inputs may be left out.',
    write="Write the names of the model's inputs and outputs as keys, and those of the ensemble's tensors as values",
    check=maps,
)
TYPES = _refusal(
    code="ENS-TYPE",
    title="two models disagree about a tensor",
    triton='Triton refuses the model: "inconsistent data type" or "inconsistent shape". -1 agrees with any size; the '
    "batch of one model may be the first dimension of another.",
    write="Write the data_type and dims that the model has whose tensor it is",
    check=types,
)
DECOUPLED = _refusal(
    code="ENS-DECOUP",
    title="a step takes inputs from different decoupled models",
    triton='Triton refuses the model: "… receives inputs originated from different decoupled models".',
    write="Write steps so that each gets all its inputs by way of the same decoupled model",
    check=decoupled,
)
CACHE = _refusal(
    code="ENS-CACHE",
    title="a response cache of an ensemble with a decoupled model",
    triton="Triton refuses the model: \"Response Cache does not currently support model … with 'decoupled' transaction "
    'policy".',
    write="Leave response_cache out",
    check=cache,
)
RULES = (FIELDS, STEP, FLOW, VERSIONS, AVAILABLE, VERSION, BATCHES, MAPS, TYPES, DECOUPLED, CACHE)
