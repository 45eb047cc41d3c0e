"""Instance groups: where a model runs, and how many times."""

import re
from collections.abc import Iterator
from typing import Any

from modelrepo.generator.lint.completed import completed
from modelrepo.generator.lint.finding import Problem
from modelrepo.generator.lint.refusal import refused
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.subject import Case

PLAN = "tensorrt_plan"
# What C++'s stoi reads of a text: white space, a sign, digits; the rest is ignored.
NUMBER = re.compile(r"[ \t\n\v\f\r]*(?P<value>[+-]?[0-9]+)")
MOST_DIGITS = 100  # of which Python makes a number; more are too large in any case
LARGEST, SMALLEST = (1 << 31) - 1, -(1 << 31)
TWO_ON_CPU = ("onnxruntime", "tensorflow")
MOST_THREADS = 1 << 22  # PID_MAX_LIMIT of Linux


def _groups(case: Case) -> Iterator[tuple[int, Any, str]]:
    """Yield the number of each group, the group, and how Triton speaks of it; ensembles must not have any."""
    if case.config.message.HasField("ensemble_scheduling"):
        return
    for number, group in enumerate(case.config.message.instance_group):
        name = group.name or f"{case.model.name}_{number}"
        yield number, group, f"instance group {name} of model {case.model.name}"


def gpu(case: Case) -> Iterator[Problem]:
    """Find groups on GPUs that the host does not have."""
    available = case.host.gpus
    for number, group, said in _groups(case):
        if group.kind != group.KIND_GPU:
            continue
        place = case.config.place("instance_group", number, "kind")
        if available == 0 and not group.gpus:
            yield refused(place, f"{said} has kind KIND_GPU but no GPUs are available", GPU.write)
        for position, asked in enumerate(group.gpus):
            if asked < 0 or (available is not None and asked >= available):
                words = f"{said} specifies invalid or unsupported gpu id {asked}"
                place = case.config.place("instance_group", number, "gpus", position)
                yield refused(place, words, _gpu_advice(available))
                break


def _gpu_advice(available: int | None) -> str:
    if available == 0:
        return GPU.write
    if available == 1:
        return "Write gpus: 0, which is the only one of the host"
    return f"Write GPUs from 0 to {available - 1}" if available else "Write GPUs from 0 on"


def automatic(case: Case) -> Iterator[Problem]:
    """Find groups of no kind that name a GPU that the host does not have."""
    available = case.host.gpus
    for number, group, said in _groups(case):
        if group.kind != group.KIND_AUTO or available is None:
            continue
        absent = [each for each in group.gpus if not 0 <= each < available]
        if group.gpus and (available == 0 or absent):
            words = f"{said} has kind KIND_CPU but specifies one or more GPUs"
            place = case.config.place("instance_group", number, "gpus")
            yield refused(place, words, "Write kind: KIND_CPU without gpus, or KIND_GPU with GPUs that the host has")


def automatic_anywhere(case: Case) -> Iterator[Problem]:
    """Find groups of no kind that name GPUs, if it is not known which GPUs the host has."""
    for number, group, _ in _groups(case):
        if group.kind == group.KIND_AUTO and group.gpus and case.host.gpus is None:
            says = (
                "Triton refuses the model on a host without these GPUs: the group becomes KIND_CPU and keeps its gpus"
            )
            place = case.config.place("instance_group", number, "gpus")
            yield Problem(place, says, "Write kind: KIND_GPU, or leave gpus out")


def cpu(case: Case) -> Iterator[Problem]:
    """Find groups that are not on GPUs and name some."""
    for number, group, said in _groups(case):
        kinds = {group.KIND_CPU: "KIND_CPU", group.KIND_MODEL: "KIND_MODEL"}
        if group.kind in kinds and group.gpus:
            words = f"{said} has kind {kinds[group.kind]} but specifies one or more GPUs"
            yield refused(
                case.config.place("instance_group", number, "gpus"), words, "Leave gpus out, or write KIND_GPU"
            )


def kind(case: Case) -> Iterator[Problem]:
    """Find kinds by a number that none has."""
    for number, group, said in _groups(case):
        if group.kind not in type(group).Kind.values():
            place = case.config.place("instance_group", number, "kind")
            yield refused(place, f"{said} has unexpected kind KIND_AUTO", KIND.write)


def count(case: Case) -> Iterator[Problem]:
    """Find counts below 1."""
    for number, group, _ in _groups(case):
        if group.count < 1 and "count" in case.config.tree.fields["instance_group"][number].fields:
            two = group.kind == group.KIND_CPU and _completed_backend(case) in TWO_ON_CPU
            says = f"Triton makes {2 if two else 1} of a count of {group.count}"
            yield Problem(case.config.place("instance_group", number, "count"), says, "Write the number of instances")


def many(case: Case) -> Iterator[Problem]:
    """Find more instances than there can be threads."""
    groups = [(number, max(1, group.count)) for number, group, _ in _groups(case) if group.kind != group.KIND_GPU]
    if sum(count for _, count in groups) > MOST_THREADS:
        number, count = max(groups, key=lambda each: each[1])
        says = (
            f"The server dies: it starts a thread for each of {count} instances, and Linux has at most {MOST_THREADS}"
        )
        yield Problem(case.config.place("instance_group", number, "count"), says, MANY.write)


def profile(case: Case) -> Iterator[Problem]:
    """Find profiles of other backends than TensorRT, and profiles that are no index; nothing if no backend is known."""
    made = completed(case.model, case.config.message, case.host.release.container)
    for number, group, said in () if made.undetermined else _groups(case):
        for position, name in enumerate(group.profile):
            place = case.config.place("instance_group", number, "profile", position)
            if made.platform != PLAN:
                words = (
                    f"{said} and platform {made.platform}specifies profile field which is only supported for TensorRT "
                    "models"
                )
                yield refused(place, words, "Leave profile out")
                break
            if reason := _not_an_index(name, said, made.platform):
                yield refused(place, reason, 'Write the index of an optimization profile in quotes, such as "0"')
                break


def _not_an_index(name: str, said: str, platform: str) -> str:
    value = _number(name)
    if not name:
        return "profile name must not be empty"
    if value is None:
        return f"unable to parse '{name}': stoi"
    if value < 0:
        return (
            f"{said} and platform {platform} specifies invalid profile {name}. The field should contain the string "
            "representation of a non-negative integer."
        )
    return ""


def _number(name: str) -> int | None:
    """Return the number that Triton reads from the name of a profile; None if there is none."""
    found = NUMBER.match(name)
    return int(found["value"][:MOST_DIGITS]) if found else None


def profile_too_large(case: Case) -> Iterator[Problem]:
    """Find profiles above the largest integer."""
    made = completed(case.model, case.config.message, case.host.release.container)
    for number, group, _ in _groups(case) if made.platform == PLAN else ():
        for position, name in enumerate(group.profile):
            value = _number(name)
            if value is not None and not SMALLEST <= value <= LARGEST:
                says = f"Triton ends when it loads the model: the profile {name} is above the largest integer"
                place = case.config.place("instance_group", number, "profile", position)
                yield Problem(place, says, 'Write the index of an optimization profile in quotes, such as "0"')


def _completed_backend(case: Case) -> str:
    return completed(case.model, case.config.message, case.host.release.container).backend


GPU = Rule(
    code="IG-GPU",
    severity="error",
    title="a group is on a GPU that the host does not have",
    triton='Triton refuses the model: "has kind KIND_GPU but no GPUs are available", or "specifies invalid or '
    'unsupported gpu id".',
    write="Write kind: KIND_CPU, or check with --gpus for a host that has them",
    check=gpu,
    seen="2.51",
)
AUTO = Rule(
    code="IG-AUTO",
    severity="error",
    title="a group of no kind names GPUs that the host does not have",
    triton='Triton makes it KIND_CPU, keeps its gpus, and refuses the model: "has kind KIND_CPU but specifies one or '
    'more GPUs".',
    write="Write the kind",
    check=automatic,
    seen="2.51",
)
AUTO_ANYWHERE = Rule(
    code="IG-AUTO-GPUS",
    severity="warning",
    title="a group of no kind names GPUs",
    triton="Triton refuses the model on a host without these GPUs; on others it makes the group KIND_GPU.",
    write="Write kind: KIND_GPU",
    check=automatic_anywhere,
    seen="2.51",
)
CPU = Rule(
    code="IG-CPU",
    severity="error",
    title="a group that is not on GPUs names some",
    triton='Triton refuses the model: "has kind KIND_CPU but specifies one or more GPUs", or KIND_MODEL.',
    write="Leave gpus out, or write KIND_GPU",
    check=cpu,
    seen="2.51",
)
KIND = Rule(
    code="IG-KIND",
    severity="error",
    title="a kind is written as a number that none has",
    triton='Triton refuses the model: "has unexpected kind KIND_AUTO".',
    write="Write KIND_CPU, KIND_GPU or KIND_MODEL",
    check=kind,
    seen="2.51",
)
COUNT = Rule(
    code="IG-COUNT",
    severity="information",
    title="a count is below 1",
    triton="Triton makes it 1; on CPUs 2 for onnxruntime and tensorflow.",
    write="Write the number of instances",
    check=count,
    seen="2.51",
)
MANY = Rule(
    code="IG-MANY",
    severity="error",
    title="more instances than Linux has threads",
    triton="The server dies while it loads the model: each instance has a thread.",
    write="Write as many instances as run at a time, which are no more than the cores",
    check=many,
    seen="2.51",
)
PROFILE = Rule(
    code="PROFILE",
    severity="error",
    title="a profile of another backend than TensorRT, or one that is no index",
    triton='Triton refuses the model: "specifies profile field which is only supported for TensorRT models", or '
    '"specifies invalid profile".',
    write="Write the index of an optimization profile, or leave profile out",
    check=profile,
    seen="2.51",
)
PROFILE_SIZE = Rule(
    code="PROFILE-SIZE",
    severity="error",
    title="a profile is above the largest integer",
    triton="Triton ends when it loads the model, and no other model is served.",
    write="Write the index of an optimization profile",
    check=profile_too_large,
    seen="2.51",
)
RULES = (GPU, AUTO, AUTO_ANYWHERE, CPU, KIND, COUNT, MANY, PROFILE, PROFILE_SIZE)
