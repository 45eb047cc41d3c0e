"""Comparing a server's configuration of a model with the one that it makes of a file, by our prediction."""

from collections.abc import Mapping
from typing import Any

from modelrepo.generator.lint.normalized import normalized
from modelrepo.generator.lint.subject import Host
from modelrepo.generator.repository.lifecycle.answered_config import differing, shown
from modelrepo.generator.triton import pbtxt
from modelrepo.generator.triton.releases import NEWEST, release_named

# What the core fills in from the backend's name, its library or the model's files.
FROM_BACKEND = ("platform", "backend", "default_model_filename", "runtime")
# What a server may complete from the model if a configuration lacks its inputs or outputs.
COMPLETED = ("input", "output", "max_batch_size", "dynamic_batching")


def disagreement(text: str, answered: Mapping[str, Any]) -> str | None:
    """Return the first difference between the configuration that Triton makes of a text, and the one that it answers.

    Its host has the GPUs that the answer shows. OptionError for a text that is not a configuration.
    """
    from google.protobuf import json_format
    from tritonclient.grpc import model_config_pb2

    got = json_format.ParseDict(dict(answered), model_config_pb2.ModelConfig(), ignore_unknown_fields=True)
    written = pbtxt.parse(text, "the configuration")
    host = Host(release_named(NEWEST), gpus=_gpus(got))
    wanted = normalized(written, got.name, host, got.model_transaction_policy.decoupled)
    for ours, theirs in zip(wanted.instance_group, got.instance_group, strict=False):
        if not ours.gpus:
            theirs.ClearField("gpus")
    for field in COMPLETED if not (written.input and written.output) else ():
        wanted.ClearField(field)
        got.ClearField(field)
    for field in FROM_BACKEND:
        if not getattr(wanted, field):
            wanted.ClearField(field)
            got.ClearField(field)
    one, other = (json_format.MessageToDict(each, preserving_proto_field_name=True) for each in (wanted, got))
    found = next(differing(one, other, exact=True), None)
    return found and f"{found[0]} is {shown(found[2])} instead of {shown(found[1])}"


def _gpus(got: Any) -> int:
    """Return how many GPUs a host has at least, by the instances that it runs on them."""
    return max((gpu + 1 for group in got.instance_group for gpu in group.gpus), default=0)
