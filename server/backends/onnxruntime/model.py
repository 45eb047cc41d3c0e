"""The model class that Triton loads for ``backend: "onnxruntime"``, in a process for each instance of a model."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from modelrepo.generator.triton import onnx_rules
from modelrepo.server.backends.onnxruntime import rules
from modelrepo.server.backends.requests import Arrays, Requests

# ONNX Runtime is imported late: Triton starts an extra process to complete a configuration, usually a complete one.


class TritonPythonModel:
    """Serves one version of an ONNX model."""

    @staticmethod
    def auto_complete_config(completed: Any) -> Any:
        """Fill in the fields that the C++ backend fills in, if a configuration has no inputs or no outputs."""
        config = completed.as_dict()
        if config.get("input") and config.get("output"):
            return completed
        from modelrepo.server.backends.onnxruntime import session

        version = Path(pb_utils.get_model_dir())
        path = session.model_file(str(version.parent), version.name, config)
        filled = onnx_rules.completion(config, session.declared(session.open_session(path, config)))
        if "max_batch_size" in filled:
            completed.set_max_batch_size(filled["max_batch_size"])
        if "dynamic_batching" in filled:
            completed.set_dynamic_batching()
        for tensor in filled.get("input", ()):
            completed.add_input(tensor)
        for tensor in filled.get("output", ()):
            completed.add_output(tensor)
        return completed

    def initialize(self, arguments: Mapping[str, str]) -> None:
        """Open the model; refuse it with a reason if the C++ backend would."""
        from modelrepo.server.backends.onnxruntime import session

        config = json.loads(arguments["model_config"])
        try:
            rules.refuse_unsupported(config)
            path = session.model_file(arguments["model_repository"], arguments["model_version"], config)
            self.session = session.open_session(path, config)
            model = session.declared(self.session)
            rules.check(config, model)
        except onnx_rules.Refused as error:
            raise pb_utils.TritonModelException(f"unable to load model '{arguments['model_name']}': {error}") from None
        self.run_options = session.run_options(config)
        inputs = (*model.inputs, *model.overridable)
        self.scalar_inputs = {tensor.name for tensor in inputs if not tensor.dims}
        written = {tensor["name"]: onnx_rules.shape_of(tensor) for tensor in config["output"]}
        self.scalar_outputs = {
            tensor.name: written[tensor.name] for tensor in model.outputs if not tensor.dims and tensor.name in written
        }
        data_types = {tensor.name: tensor.data_type for tensor in inputs}
        self.requests = Requests(self._run, data_types, batched=int(config["max_batch_size"]) > 0)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer the requests that Triton's batcher put together."""
        return self.requests.answer(requests)

    def finalize(self) -> None:
        """End this process at once: Triton waits for it, and taking Python apart took another second."""
        os._exit(0)

    def _run(self, inputs: Arrays, outputs: Sequence[str]) -> dict[str, NDArray[Any]]:
        fed = {name: self._fed(name, array) for name, array in inputs.items()}
        answers = dict(zip(outputs, self.session.run(list(outputs), fed, self.run_options), strict=True))
        for name in self.scalar_outputs.keys() & answers.keys():
            if not np.ndim(answers[name]):  # what declares no shape looks like a scalar, and need not be one
                answers[name] = np.asarray(answers[name]).reshape(self.scalar_outputs[name])
        return answers

    def _fed(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        if array.dtype == np.object_:
            try:
                array = np.array([item.decode() for item in array.ravel()], np.object_).reshape(array.shape)
            except UnicodeDecodeError:
                raise ValueError(f"input '{name}' holds a string that is not UTF-8") from None
        return array.reshape(()) if name in self.scalar_inputs else array
