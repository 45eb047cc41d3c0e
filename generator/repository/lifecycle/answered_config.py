"""The configuration that a server answers, compared with the published one: only what was written counts.

A server resolves KIND_AUTO, names its instances and fills in fields, each host in its own way.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from modelrepo.generator.triton import pbtxt

ON_CPU = "a CPU serves it in place of a GPU"
NOTHING = "nothing"


def differences(
    text: str, answered: Mapping[str, Any], *, policy: bool = True
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what is written in a configuration and different in the one that a server answers, and notes.

    Without ``policy`` that of the versions does not count: one that stays loaded keeps the policy of its own load.
    ``modelrepo serve --cpu-overlay`` serves what was written for a GPU; that is a note. OptionError for a text that is
    not a configuration.
    """
    from google.protobuf import json_format
    from tritonclient.grpc import model_config_pb2

    wanted = pbtxt.parse(text, "the published config.pbtxt")
    got = json_format.ParseDict(dict(answered), model_config_pb2.ModelConfig(), ignore_unknown_fields=True)
    if not policy:
        wanted.ClearField("version_policy")
    notes = (ON_CPU,) if _on_cpu_instead(wanted, got) else ()
    if notes:
        wanted.ClearField("instance_group")
        wanted.optimization.ClearField("execution_accelerators")
        if not wanted.optimization.ByteSize():
            wanted.ClearField("optimization")
    ours, theirs = (json_format.MessageToDict(each, preserving_proto_field_name=True) for each in (wanted, got))
    ours.setdefault("max_batch_size", 0)  # protobuf does not tell a 0 from nothing
    theirs.setdefault("max_batch_size", 0)
    return tuple(
        f"{where} is {shown(got)}, and {shown(wanted)} was published" for where, wanted, got in differing(ours, theirs)
    ), notes


def on_gpu(answered: Mapping[str, Any]) -> bool:
    """Whether a GPU may compute the answers: an instance that a server left to itself may be on one."""
    groups = answered.get("instance_group", ())
    return not groups or any(group.get("kind", "KIND_AUTO") not in ("KIND_CPU", 2) for group in groups)


def _on_cpu_instead(wanted: Any, got: Any) -> bool:
    """Whether a configuration for GPUs is served on CPUs alone."""
    from tritonclient.grpc.model_config_pb2 import ModelInstanceGroup as Group

    there = bool(got.instance_group) and all(group.kind == Group.KIND_CPU for group in got.instance_group)
    return there and any(group.kind == Group.KIND_GPU or group.gpus for group in wanted.instance_group)


def differing(wanted: Any, got: Any, where: str = "", *, exact: bool = False) -> Iterator[tuple[str, Any, Any]]:
    """Yield the path of each value of a JSON document that is another one, with the wanted and the other value.

    What is not wanted may be there, unless it has to be ``exact``.
    """
    if isinstance(wanted, dict) and isinstance(got, dict):
        for key in {**wanted, **got} if exact else wanted:
            path = f"{where}.{key}" if where else key
            yield from differing(wanted.get(key), got.get(key), path, exact=exact)
    elif isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        for position, (one, other) in enumerate(zip(wanted, got, strict=True)):
            yield from differing(one, other, f"{where}[{position}]", exact=exact)
    elif wanted != got:
        yield where, wanted, got


def shown(value: Any) -> str:
    """Return a value of a JSON document in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {shown(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    return NOTHING if value is None else str(value)
