"""Comparing a server's configuration of a model with the one that its own is predicted to be."""

from collections.abc import Mapping
from typing import Any

from modelrepo.generator.lint import Host
from modelrepo.generator.lint.normalized import normalized
from modelrepo.generator.repository.lifecycle.answered_config import differing, shown
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
    found = next(differing(ours, theirs, exact=True), None)
    return found and f"{found[0]} is {shown(found[2])} instead of {shown(found[1])}"
