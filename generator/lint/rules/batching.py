"""Dynamic batching: preferred sizes, priorities, queues and custom strategies."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from modelrepo.generator.lint.data import DIES, broken_library, holds
from modelrepo.generator.lint.declared import is_complete
from modelrepo.generator.lint.finding import Problem
from modelrepo.generator.lint.refusal import refused
from modelrepo.generator.lint.regular import exists
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.rules.identity import escapes
from modelrepo.generator.lint.selected import selected
from modelrepo.generator.lint.subject import Case

STRATEGY = "TRITON_BATCH_STRATEGY_PATH"
STRATEGY_FILE = "batchstrategy.so"
INSIDE_SINCE = "26.06"  # the release from which on the library that the parameter names must lie in the model's folder
# What a library of a strategy has all of or none of.
STRATEGY_FUNCTIONS = (
    b"TRITONBACKEND_ModelBatchIncludeRequest",
    b"TRITONBACKEND_ModelBatchInitialize",
    b"TRITONBACKEND_ModelBatchFinalize",
    b"TRITONBACKEND_ModelBatcherInitialize",
    b"TRITONBACKEND_ModelBatcherFinalize",
)


def preferred(case: Case) -> Iterator[Problem]:
    """Find preferred batch sizes that are not positive, or above max_batch_size."""
    config = case.config.message
    for number, size in enumerate(config.dynamic_batching.preferred_batch_size):
        place = case.config.place("dynamic_batching", "preferred_batch_size", number)
        if size <= 0:
            yield refused(place, f"dynamic batching preferred size must be positive for {case.model.name}", PREF.write)
        elif size > config.max_batch_size:
            words = f"dynamic batching preferred size must be <= max batch size for {case.model.name}"
            yield refused(place, words, f"Write at most max_batch_size, which is {config.max_batch_size}")


def without_batches(case: Case) -> Iterator[Problem]:
    """Find dynamic batching of a model without a batch dimension."""
    config = case.config.message
    if not is_complete(case.model, config):
        return  # the backend may fill in max_batch_size
    if config.HasField("dynamic_batching") and config.max_batch_size == 0:
        says = "Triton loads the model, and batches nothing: its max_batch_size is 0"
        yield Problem(case.config.place("dynamic_batching"), says, MBS0.write)


def default_sizes(case: Case) -> Iterator[Problem]:
    """Find dynamic batching without preferred sizes."""
    config = case.config.message
    batching = config.dynamic_batching
    if config.HasField("dynamic_batching") and not batching.preferred_batch_size and config.max_batch_size > 0:
        says = f"Triton fills in preferred_batch_size: [ {config.max_batch_size} ], which is max_batch_size"
        yield Problem(case.config.place("dynamic_batching"), says, DEFAULT.write)


def priorities(case: Case) -> Iterator[Problem]:
    """Find a default level, and keys of queue policies, that are no priority level of the model."""
    batching = case.config.message.dynamic_batching
    levels, name = batching.priority_levels, case.model.name
    if levels == 0:
        return
    if not 1 <= batching.default_priority_level <= levels:
        place = case.config.place("dynamic_batching", "default_priority_level")
        yield refused(place, f"default priority level must be in range [1, {levels}] for {name}", PRIO.write)
    for level in sorted(batching.priority_queue_policy):
        if not 1 <= level <= levels:
            words = f"priority queue policy must have priority level in range [1, {levels}] for {name}"
            yield refused(case.config.place("dynamic_batching", "priority_queue_policy"), words, PRIO.write)


def priorities_off(case: Case) -> Iterator[Problem]:
    """Find what is written about priorities of a model that has none."""
    batching = case.config.message.dynamic_batching
    if batching.priority_levels:
        return
    for field in ("default_priority_level", "priority_queue_policy"):
        if getattr(batching, field):
            says = f"Triton loads the model, and uses {field} for nothing: priority_levels is 0"
            yield Problem(case.config.place("dynamic_batching", field), says, PRIO_OFF.write)


def ordering(case: Case) -> Iterator[Problem]:
    """Find priorities, and requests that are put off, where the order of responses shall be kept."""
    batching = case.config.message.dynamic_batching
    if not batching.preserve_ordering:
        return
    if batching.priority_levels > 1:
        words = f"Only one priority level is allowed when 'preserve_ordering' is true for {case.model.name}"
        yield refused(case.config.place("dynamic_batching", "preserve_ordering"), words, ORDER.write)
    policies = [("default_queue_policy", batching.default_queue_policy)]
    policies += [("priority_queue_policy", policy) for policy in batching.priority_queue_policy.values()]
    for field, policy in policies:
        if policy.default_timeout_microseconds and policy.timeout_action == policy.DELAY:
            words = "Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true"
            yield refused(case.config.place("dynamic_batching", field), f"{words} for {case.model.name}", ORDER_DELAY)


def strategy(case: Case) -> Iterator[Problem]:
    """Find a custom batching strategy whose library is not there, is none, or lacks functions."""
    config = case.config.message
    if config.HasField("sequence_batching") or config.HasField("ensemble_scheduling"):
        return
    place = case.config.place("parameters")
    if STRATEGY in config.parameters:
        written = config.parameters[STRATEGY].string_value
        found = _located(written, case.model.folder)
        if found is None:
            yield refused(place, f"Batching library path not found: {written}", LIBRARY.write)
            return
        release = case.host.release.container
        if release >= INSIDE_SINCE and escapes(found, case.model.folder, release):
            yield refused(place, "Batching library path escapes model repository.", ESCAPES)
            return
        libraries = [found]
    else:
        libraries = list(dict.fromkeys(_strategies(case)))
    for library in libraries:
        yield from _library(library, case)


def _strategies(case: Case) -> Iterator[Path]:
    """Yield the library that each version finds: in its folder, or in that of the model."""
    for version in selected(case.model, case.config.message):
        folders = (case.model.versions.get(version, case.model.folder), case.model.folder)
        found = (folder / STRATEGY_FILE for folder in folders if exists(folder / STRATEGY_FILE))
        yield from islice(found, 1)


def _library(library: Path, case: Case) -> Iterator[Problem]:
    """Find a library that can't be one, or that has some of the functions of a strategy and not all."""
    place = case.config.place("parameters")
    fault = broken_library(library)
    if fault == DIES:
        yield Problem(place, f"The server dies: {library} is cut off", "Copy the library again")
        return
    if fault:
        yield refused(place, f"unable to load shared library: {library}: {fault}", LIBRARY.write)
        return
    held = holds(library, *STRATEGY_FUNCTIONS)
    if any(held) and not all(held):
        says = f'The server hangs: "{library} does not define all required custom batching functions'
        yield Problem(place, f'{says} for model {case.model.name}"', LIBRARY.write)


def _located(written: str, folder: Path) -> Path | None:
    """Return the library that a path names: here, or in the model's folder if the server mounts it elsewhere."""
    if not written:
        return None
    if Path(written).is_absolute() and exists(Path(written)):
        return Path(written)
    *_, inside = written.rpartition(f"/{folder.name}/")
    return folder / inside if inside != written and exists(folder / inside) else None


ESCAPES = f"Put the library into the folder of the model: since {INSIDE_SINCE} it must lie there"
PREF = Rule(
    code="DYN-PREF",
    severity="error",
    title="a preferred batch size is not positive, or above max_batch_size",
    triton='Triton refuses the model: "dynamic batching preferred size must be positive", or "… <= max batch size".',
    write="Write sizes from 1 to max_batch_size, or leave preferred_batch_size out",
    check=preferred,
    seen="2.51",
)
MBS0 = Rule(
    code="DYN-MBS0",
    severity="warning",
    title="dynamic batching with max_batch_size 0",
    triton="Triton loads the model, and runs each request alone.",
    write="Write the largest batch as max_batch_size, or leave dynamic_batching out",
    check=without_batches,
    seen="2.51",
)
DEFAULT = Rule(
    code="DYN-DEF",
    severity="information",
    title="dynamic batching without preferred sizes",
    triton="Triton prefers batches of max_batch_size; requests wait at most max_queue_delay_microseconds for one.",
    write="Leave it, or write the sizes that the model runs fastest with",
    check=default_sizes,
    seen="2.51",
)
PRIO = Rule(
    code="PRIO",
    severity="error",
    title="a priority is not one of the model's levels",
    triton='Triton refuses the model: "default priority level must be in range [1, …]", or "priority queue policy must '
    'have priority level in range [1, …]".',
    write="Write levels from 1 to priority_levels; default_priority_level has to be written",
    check=priorities,
    seen="2.51",
)
PRIO_OFF = Rule(
    code="PRIO-OFF",
    severity="warning",
    title="priorities are described, and priority_levels is 0",
    triton="Triton loads the model, and all requests wait in one queue, with the default policy.",
    write="Write priority_levels, or default_queue_policy for the one queue that there is",
    check=priorities_off,
    seen="2.51",
)
ORDER_DELAY = "Write timeout_action: REJECT, or leave preserve_ordering out"
ORDER = Rule(
    code="PRIO-ORDER",
    severity="error",
    title="preserve_ordering with several priorities, or with requests that are put off",
    triton="Triton refuses the model: \"Only one priority level is allowed when 'preserve_ordering' is true\", or "
    "\"Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true\".",
    write="Leave preserve_ordering out, or have one priority level",
    check=ordering,
    seen="2.51",
)
LIBRARY = Rule(
    code="DYN-LIB",
    severity="error",
    title="the library of a custom batching strategy is not there, or is none",
    triton=f'Triton refuses the model: "Batching library path not found: …". It takes the path of the parameter '
    f"{STRATEGY}, or {STRATEGY_FILE} in the folder of the version or of the model. With one that has only some of "
    f"the functions of a strategy it hangs. Since {INSIDE_SINCE} the path must lie in the folder of the model.",
    write="Write the absolute path of the library on the machine that serves, or put it into the model's folder",
    check=strategy,
    seen="2.51",
)
RULES = (PREF, MBS0, DEFAULT, PRIO, PRIO_OFF, ORDER, LIBRARY)
