"""Sequence batching: controls, strategies and implicit state."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from modelrepo.generator.lint.data import (
    BYTES,
    COUNTED_SINCE,
    MUCH_MEMORY,
    bytes_of,
    dies_of,
    enum_name,
    located,
    uncounted,
    unreadable,
)
from modelrepo.generator.lint.finding import Place, Problem
from modelrepo.generator.lint.refusal import refused
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.rules.batching import STRATEGY
from modelrepo.generator.lint.subject import Case

LISTS = ("int32_false_true", "fp32_false_true", "bool_false_true")
IDS = ("TYPE_UINT64", "TYPE_INT64", "TYPE_UINT32", "TYPE_INT32", "TYPE_STRING")
CORRID = "CONTROL_SEQUENCE_CORRID"
INITIAL_STATE = "initial_state"
SLOT_BYTES = 600  # what each sequence slot takes in memory, at least: a queue


def names(case: Case) -> Iterator[Problem]:
    """Find control tensors without a name, or with the name of another."""
    seen: set[str] = set()
    for number, tensor in enumerate(case.config.message.sequence_batching.control_input):
        place = case.config.place("sequence_batching", "control_input", number)
        if not tensor.name:
            words = f"sequence batching control tensor must have a name for {case.model.name}"
            yield refused(place, words, "Write the name of the model's input that gets the control")
        elif tensor.name in seen:
            words = f"sequence batching control tensor '{tensor.name}' is specified for multiple control kinds"
            yield refused(place, f"{words} for {case.model.name}", NAMES.write)
        seen.add(tensor.name)


def kinds(case: Case) -> Iterator[Problem]:
    """Find a kind of control that two tensors, or one of them twice, shall get."""
    seen: set[str] = set()
    for place, kind, _ in _controls(case):
        if kind in seen:
            words = f"sequence batching specifies multiple {kind} tensors for {case.model.name}"
            yield refused(place, words, KINDS.write)
        seen.add(kind)


def values(case: Case) -> Iterator[Problem]:
    """Find controls without exactly one list of the two values that mean false and true."""
    for place, kind, control in _controls(case):
        written = [name for name in LISTS if getattr(control, name)]
        if kind == CORRID:
            continue
        if not written:
            words = "sequence batching must specify either 'int32_false_true', 'fp32_false_true' or 'bool_false_true'"
        elif len(written) > 1:
            words = "sequence batching specifies more than one from 'int32_false_true', 'fp32_false_true' and "
            words += "'bool_false_true'"
        elif len(getattr(control, written[0])) != 2:  # false and true
            words = f"sequence batching control '{written[0]}' must have exactly 2 entries"
        else:
            continue
        yield refused(place, f"{words} for {kind} for {case.model.name}", VALUES.write)


def correlation(case: Case) -> Iterator[Problem]:
    """Find a correlation ID with values of a flag, or of a type that can't hold one."""
    for place, kind, control in _controls(case):
        if kind != CORRID:
            continue
        if any(getattr(control, name) for name in LISTS):
            words = "sequence batching must not specify either 'int32_false_true', 'fp32_false_true' or "
            yield refused(place, f"{words}'bool_false_true' for {kind} for {case.model.name}", CORRELATION.write)
        elif enum_name(control, "data_type") not in IDS:
            words = f"unexpected data type for control {kind} for {case.model.name}. Allowed data types are "
            yield refused(place, f"{words}TYPE_UINT64, TYPE_INT64, TYPE_UINT32, TYPE_INT32 and TYPE_STRING", TYPES)


def oldest(case: Case) -> Iterator[Problem]:
    """Find preferred batch sizes of the oldest-first strategy that are not positive, or above max_batch_size."""
    config = case.config.message
    for number, size in enumerate(config.sequence_batching.oldest.preferred_batch_size):
        place = case.config.place("sequence_batching", "oldest", "preferred_batch_size", number)
        words = "sequence batching preferred batch size must be "
        if size <= 0:
            yield refused(place, f"{words}positive for {case.model.name}", OLDEST.write)
        elif size > config.max_batch_size:
            write = f"Write at most max_batch_size, which is {config.max_batch_size}"
            yield refused(place, f"{words}<= max batch size for {case.model.name}", write)


def direct(case: Case) -> Iterator[Problem]:
    """Find a slot utilization that is no share."""
    share = case.config.message.sequence_batching.direct.minimum_slot_utilization
    if share < 0 or share > 1:
        words = "sequence batching minimum slot utilization must be in range (0.0, 1.0]"
        place = case.config.place("sequence_batching", "direct", "minimum_slot_utilization")
        yield refused(place, f"{words} for {case.model.name}", DIRECT.write)


def strategy(case: Case) -> Iterator[Problem]:
    """Find a custom batching strategy beside sequence batching."""
    config = case.config.message
    if config.HasField("sequence_batching") and STRATEGY in config.parameters:
        words = f"{STRATEGY} cannot be specified with sequence batcher, using default batching strategy"
        yield refused(case.config.place("parameters"), words, LIBRARY.write)


def initial_state(case: Case) -> Iterator[Problem]:
    """Find initial states that do not fit their state, or whose data are not there."""
    taken: set[str] = set()
    for number, state in enumerate(case.config.message.sequence_batching.state):
        place = case.config.place("sequence_batching", "state", number, "initial_state")
        if len(state.initial_state) > 1:
            words = f"initial_state field for state input '{state.input_name}' must contain exactly one or zero "
            found = f"element. Found '{len(state.initial_state)}' elements."
            yield refused(place, words + found, "Write one initial_state for each state")
        elif state.initial_state:
            words, write = _initial_refusal(state, taken)
            taken.add(state.input_name)
            if words:
                yield refused(place, words, write)
            else:
                yield from _initial_data(place, state, case)


def _initial_refusal(state: Any, taken: set[str]) -> tuple[str, str]:
    """Return why Triton refuses an initial state, and what to write instead; nothing if it does not."""
    initial, name = state.initial_state[0], state.input_name
    if initial.data_type != state.data_type:
        words = f"The data type used for 'initial_state' field of state '{name}' does not match the state data type."
        return words, "Write the data_type of the state"
    if not initial.name:
        return f"Field 'name' must be set when using initial_state for state input '{name}'.", "Write a name, any one"
    if name in taken:
        return f"State input name '{name}' specified more than once.", "Write one state for each input"
    if len(initial.dims) != len(state.dims):
        words = "Number of dimensions in 'initial_state' doesn't match the size of 'state' dimensions for state input"
        return f"{words} '{name}'. {len(initial.dims)} != {len(state.dims)}", "Write as many dims as the state has"
    for size, asked in zip(initial.dims, state.dims, strict=True):
        if size == -1:
            words = f"'initial_state' field for state input name '{name}' contains variable dimensions."
            return words, "Write the size that the first state has"
        if asked not in (-1, size):
            words = f"'initial_state' dim for input name '{name}' doesn't match 'state' dim description."
            return f"{words} {size} != {asked}", "Write the size that the state has"
    if initial.WhichOneof("state_data") is None:
        words = f"initial_state setting expects state'{name}' to have state_data set"
        return words, "Write zero_data: true, or the data_file"
    return "", ""


def _initial_data(place: Place, state: Any, case: Case) -> Iterator[Problem]:
    """Find data of an initial state that are not there, or too few."""
    initial, data_type = state.initial_state[0], enum_name(state.initial_state[0], "data_type")
    expected = bytes_of(data_type, initial.dims)
    if case.host.release.container >= COUNTED_SINCE:
        if data_type not in (*BYTES, "TYPE_STRING"):
            expected = -1
        elif words := uncounted(state.input_name, data_type, initial.dims):
            yield refused(place, words, "Write the sizes of the state")
            return
    if dies_of(expected) and (initial.WhichOneof("state_data") == "zero_data"):
        says = f"The server dies: it asks for {expected} bytes of memory"
        yield Problem(place, says, "Write the data_type and the sizes of the state")
    elif initial.WhichOneof("state_data") == "data_file":
        path = located(case.model.folder, INITIAL_STATE, initial.data_file)
        missing = unreadable(place, path, f"Put the file into the folder {INITIAL_STATE} of the model")
        yield from missing
        if missing or data_type == "TYPE_STRING":
            return
        size = Path(path).stat().st_size
        if size < expected % (1 << 64):  # Triton takes it as unsigned
            words = f"initial_state setting expects {expected} bytes, but the data provided from {initial.data_file}"
            write = f"Write {expected} bytes into {INITIAL_STATE}/{initial.data_file}"
            yield refused(place, f"{words}only has {size} bytes.", write)


def slots(case: Case) -> Iterator[Problem]:
    """Find more sequences at a time than any memory holds."""
    config = case.config.message
    if not config.HasField("sequence_batching"):
        return
    oldest = config.sequence_batching.oldest.max_candidate_sequences
    instances = sum(max(1, group.count) for group in config.instance_group) or 1
    count = (oldest if oldest > 0 else max(1, config.max_batch_size)) * instances
    if count * SLOT_BYTES > (case.host.memory or MUCH_MEMORY):
        path = ("sequence_batching", "oldest", "max_candidate_sequences") if oldest > 0 else ("max_batch_size",)
        says = f"The server dies: it makes room for {count} sequences, which no memory holds"
        yield Problem(case.config.place(*path), says, SLOTS.write)


def states(case: Case) -> Iterator[Problem]:
    """Find states with the name of another, which sequences then do without."""
    batching = case.config.message.sequence_batching
    for field in ("input_name", "output_name"):
        seen: set[str] = set()
        for number, state in enumerate(batching.state):
            name = getattr(state, field)
            if name in seen:
                says = f"Triton loads the model, and ignores this state: there is another with {field} '{name}'"
                yield Problem(case.config.place("sequence_batching", "state", number, field), says, STATES.write)
            seen.add(name)


def growable(case: Case) -> Iterator[Problem]:
    """Find growable memory of states where Triton has none: off a GPU, and with two buffers."""
    config = case.config.message
    for number, state in enumerate(config.sequence_batching.state):
        if not state.use_growable_memory:
            continue
        place = case.config.place("sequence_batching", "state", number, "use_growable_memory")
        said = "Triton loads the model, and refuses each sequence: "
        if not state.use_same_buffer_for_input_output:
            words = "\"In order to 'use_growable_memory', you must also enable 'use_single_buffer'\""
            yield Problem(place, said + words, "Write use_same_buffer_for_input_output: true too")
        elif any(_runs_on_cpu(group, case) for group in config.instance_group) or case.host.gpus == 0:
            words = "\"'use_growable_memory' can only work with KIND_GPU model instances right now\""
            yield Problem(place, said + words, GROWABLE.write)


def _runs_on_cpu(group: Any, case: Case) -> bool:
    """Whether the instances of a group are sure to run on the CPU."""
    kind = enum_name(group, "kind")
    return kind in ("KIND_CPU", "KIND_MODEL") or (kind == "KIND_AUTO" and case.host.gpus == 0)


def _controls(case: Case) -> Iterator[tuple[Place, str, Any]]:
    """Yield each control of each control tensor, with its place and kind."""
    for number, tensor in enumerate(case.config.message.sequence_batching.control_input):
        for position, control in enumerate(tensor.control):
            place = case.config.place("sequence_batching", "control_input", number, "control", position)
            kind = enum_name(control, "kind")
            if not kind.isdecimal():  # a number that is no kind: Triton passes over it
                yield place, kind, control


_refusal = partial(Rule, severity="error", seen="2.51")

NAMES = _refusal(
    code="SEQ",
    title="a control tensor has no name, or that of another",
    triton='Triton refuses the model: "sequence batching control tensor must have a name", or "… is specified for '
    'multiple control kinds".',
    write="Write all controls of one tensor into one control_input",
    check=names,
)
KINDS = _refusal(
    code="SEQ-KIND",
    title="two controls have the same kind",
    triton='Triton refuses the model: "sequence batching specifies multiple … tensors". The kind that is not written '
    "is CONTROL_SEQUENCE_START.",
    write="Write each kind once",
    check=kinds,
)
VALUES = _refusal(
    code="SEQ-VALUES",
    title="a control has not exactly one list of two values",
    triton="Triton refuses the model: \"sequence batching must specify either 'int32_false_true', 'fp32_false_true' or "
    '\'bool_false_true\'", or "… must have exactly 2 entries".',
    write="Write one list of two values, such as fp32_false_true: [ 0, 1 ]",
    check=values,
)
TYPES = "Write data_type: TYPE_UINT64, or the type that the model's input has"
CORRELATION = _refusal(
    code="SEQ-CORRID",
    title="the correlation ID has values, or a type that can't hold one",
    triton="Triton refuses the model: \"sequence batching must not specify either 'int32_false_true' …\", or "
    '"unexpected data type for control CONTROL_SEQUENCE_CORRID".',
    write="Write only data_type for CONTROL_SEQUENCE_CORRID",
    check=correlation,
)
OLDEST = _refusal(
    code="SEQ-OLDEST",
    title="a preferred batch size of the oldest-first strategy is not positive, or above max_batch_size",
    triton='Triton refuses the model: "sequence batching preferred batch size must be positive", or "… <= max batch '
    'size".',
    write="Write sizes from 1 to max_batch_size, or leave preferred_batch_size out",
    check=oldest,
)
DIRECT = _refusal(
    code="SEQ-DIRECT",
    title="the minimum slot utilization is below 0, or above 1",
    triton='Triton refuses the model: "sequence batching minimum slot utilization must be in range (0.0, 1.0]". It '
    "takes 0 as well, which is the default.",
    write="Write a share between 0 and 1",
    check=direct,
)
LIBRARY = _refusal(
    code="SEQ-LIB",
    title="a custom batching strategy beside sequence batching",
    triton=f'Triton refuses the model: "{STRATEGY} cannot be specified with sequence batcher".',
    write=f"Leave the parameter {STRATEGY} out",
    check=strategy,
)
INITIAL = _refusal(
    code="SEQ-INIT",
    title="an initial state does not fit its state, or its data are not there",
    triton="Triton refuses the model: type, name, number of dimensions, sizes and data have to fit. A file lies in the "
    f"folder {INITIAL_STATE} of the model, and has at least the bytes that are needed. Servers died of it.",
    write="Write an initial_state of the type and dims of its state",
    check=initial_state,
)
STATES = Rule(
    code="SEQ-STATE",
    severity="warning",
    title="two states have the same name",
    triton="Triton loads the model, and ignores the second: \"Detected duplicate 'input_name' in the state "
    'configuration".',
    write="Write another name",
    check=states,
    source="core: src/sequence_state.cc",
)
SLOTS = _refusal(
    code="SEQ-SLOTS",
    title="more sequences at a time than any memory holds",
    triton="The server dies while it loads the model: it makes room for max_candidate_sequences sequences of each "
    "instance, or for max_batch_size.",
    write="Write the number of sequences that are open at a time",
    check=slots,
)
GROWABLE = Rule(
    code="SEQ-GROW",
    severity="warning",
    title="growable memory for states off a GPU, or without one buffer for input and output",
    triton="Triton loads the model, and every sequence fails.",
    write="Write instance_group [ { kind: KIND_GPU } ], or leave use_growable_memory out",
    check=growable,
    source="core: src/sequence_state.cc",
)
RULES = (NAMES, KINDS, VALUES, CORRELATION, OLDEST, DIRECT, LIBRARY, INITIAL, SLOTS, STATES, GROWABLE)
