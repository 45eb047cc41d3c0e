"""A Python backend that does nothing: it reads no input and answers zeros. Its time is Triton's own share."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from modelrepo.server.backends import tensors


class TritonPythonModel:
    """Answers every request with zeros in the shape of the one output."""

    def initialize(self, arguments: Mapping[str, str]) -> None:
        """Make the array of zeros."""
        tensors.prepare(strings=False)
        (output,) = json.loads(arguments["model_config"])["output"]
        self.name, self.zeros = output["name"], np.zeros((1, *map(int, output["dims"])), "float32")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request on its own."""
        return [pb_utils.InferenceResponse([tensors.from_array(self.name, self.zeros)]) for _ in requests]
