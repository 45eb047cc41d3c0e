"""Comparing a server's configuration of a model with the one that its own is predicted to be."""

from collections.abc import Mapping
from typing import Any

from modelrepo.generator.lint import Host
from modelrepo.generator.lint.normalized import normalized
from modelrepo.generator.triton import pbtxt
from modelrepo.generator.triton.releases import NEWEST, release_named

# What the core fills in from the backend's name, its library or the model's files.
FROM_BACKEND = ("platform", "backend", "default_model_filename", "runtime")


def disagreement(text: str, answered: Mapping[str, Any]) -> str | None:
    """Return the first difference between the configuration that Triton makes of a text, and the one that it answers.

    The server is a local one, which has no GPU, and completes no configuration from the model.
    """
    from google.protobuf import json_format
    from tritonclient.grpc import model_config_pb2

    got = json_format.ParseDict(dict(answered), model_config_pb2.ModelConfig(), ignore_unknown_fields=True)
    wanted = normalized(pbtxt.parse(text, "the configuration"), got.name, Host(release_named(NEWEST), gpus=0))
    for field in FROM_BACKEND:
        if not getattr(wanted, field):
            wanted.ClearField(field)
            got.ClearField(field)
    ours, theirs = (json_format.MessageToDict(each, preserving_proto_field_name=True) for each in (wanted, got))
    return _differing(ours, theirs, "")


def _differing(wanted: Any, got: Any, where: str) -> str | None:
    if isinstance(wanted, dict) and isinstance(got, dict):
        for key in sorted({*wanted, *got}):
            path = f"{where}.{key}" if where else key
            if key not in got or key not in wanted:
                return f"{path} is {got.get(key, 'not there')} instead of {wanted.get(key, 'not there')}"
            found = _differing(wanted[key], got[key], path)
            if found:
                return found
        return None
    if isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        pairs = enumerate(zip(wanted, got, strict=True))
        found_in = (_differing(one, other, f"{where}[{position}]") for position, (one, other) in pairs)
        return next(filter(None, found_in), None)
    return None if wanted == got else f"{where} is {got} instead of {wanted}"
