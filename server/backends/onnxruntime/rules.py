"""The C++ onnxruntime backend's rules for a configuration, applied here too; ``triton.onnx_rules`` has them.

A configuration is the JSON object that Triton passes to a backend.
"""

from collections.abc import Mapping
from typing import Any

from modelrepo.generator.triton.onnx_rules import Model, Refused, mismatches


def refuse_unsupported(config: Mapping[str, Any]) -> None:
    """Raise Refused for a feature that the C++ backend has and this one lacks."""
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    for kind, listed in accelerators.items():
        for accelerator in listed:
            raise Refused(f"{kind} '{accelerator['name']}' is not available in the local server")
    for group in config.get("instance_group", ()):
        if group.get("kind") == "KIND_GPU":
            raise Refused("KIND_GPU instances are not available in the local server")
    for tensor in config.get("input", ()):
        if tensor.get("allow_ragged_batch"):
            raise Refused(f"ragged batching of input '{tensor['name']}' is not available in the local server")
    for field in ("batch_input", "batch_output"):
        if config.get(field):
            raise Refused(f"{field} is not available in the local server")
    if config.get("model_operations", {}).get("op_library_filename"):
        raise Refused("libraries of custom operators (model_operations) are not available in the local server")
    if config.get("sequence_batching", {}).get("state"):
        raise Refused("implicit state is not available in the local server")
    if config.get("model_transaction_policy", {}).get("decoupled"):
        raise Refused("the onnxruntime backend answers every request once: it can't be decoupled")
    for tensor in (*config.get("input", ()), *config.get("output", ())):
        if tensor["data_type"] == "TYPE_BF16":
            raise Refused(f"BF16 tensors such as '{tensor['name']}' are not available in the local server")


def check(config: Mapping[str, Any], model: Model) -> None:
    """Raise Refused if the C++ backend would not load the model with this configuration."""
    for mismatch in mismatches(config, model):
        raise Refused(mismatch.reason)
