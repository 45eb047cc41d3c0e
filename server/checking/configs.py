"""Comparing a server's configuration of a model with the one that was written."""

from collections.abc import Mapping
from typing import Any

from modelrepo.generator.triton import pbtxt

# Values that Triton replaces: KIND_AUTO becomes the kind that the host has.
RESOLVED = {("kind", "KIND_AUTO")}


def disagreement(text: str, answered: Mapping[str, Any]) -> str | None:
    """Return the first difference between a written configuration and the one that the server's API answers.

    Fields that were not written are ignored: Triton fills them in.
    """
    from google.protobuf import json_format
    from tritonclient.grpc import model_config_pb2

    written = pbtxt.parse(text, "the configuration")
    got = json_format.ParseDict(dict(answered), model_config_pb2.ModelConfig(), ignore_unknown_fields=True)
    if written.max_batch_size != got.max_batch_size:
        return f"max_batch_size is {got.max_batch_size} instead of {written.max_batch_size}"
    return _differing(written, got, "")


def _differing(written: Any, got: Any, path: str) -> str | None:
    for field, value in written.ListFields():
        other, where = getattr(got, field.name), f"{path}{field.name}"
        is_message = field.message_type is not None
        if is_message and field.message_type.GetOptions().map_entry:
            found = _differing_map(value, other, where)
        elif field.is_repeated:
            found = _differing_list(value, other, where, is_message)
        elif is_message:
            found = _differing(value, other, f"{where}.")
        else:
            found = None if value == other or _resolved(field, value) else f"{where} is {other!r} instead of {value!r}"
        if found:
            return found
    return None


def _resolved(field: Any, value: Any) -> bool:
    name = field.enum_type.values_by_number[value].name if field.enum_type else value
    return (field.name, name) in RESOLVED


def _differing_map(written: Any, got: Any, where: str) -> str | None:
    for key, value in written.items():
        if key not in got:
            return f"{where} lacks {key!r}"
        if hasattr(value, "ListFields"):
            found = _differing(value, got[key], f"{where}[{key!r}].")
        else:
            found = None if value == got[key] else f"{where}[{key!r}] is {got[key]!r} instead of {value!r}"
        if found:
            return found
    return None


def _differing_list(written: Any, got: Any, where: str, is_message: bool) -> str | None:
    if len(written) != len(got):
        return f"{where} has {len(got)} entries instead of {len(written)}"
    if not is_message:
        return None if list(written) == list(got) else f"{where} is {list(got)} instead of {list(written)}"
    pairs = enumerate(zip(written, got, strict=True))
    found = (_differing(one, other, f"{where}[{position}].") for position, (one, other) in pairs)
    return next(filter(None, found), None)
