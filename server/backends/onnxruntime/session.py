"""An ONNX Runtime session with the settings of a Triton configuration, as the C++ backend reads them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime

from modelrepo.generator.triton.onnx_rules import DATA_TYPES, Model, Refused, Tensor
from modelrepo.generator.triton.parameters import boolean, whole

# optimization.graph.level: -1 basic, 1 extended, 2 none, anything else all (onnxruntime.cc, ModelState).
LEVELS = {
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
FATAL_ONLY = 4  # errors are raised too


def parameter(config: Mapping[str, Any], name: str) -> str | None:
    """Return one of the configuration's ``parameters``, or None."""
    value = config.get("parameters", {}).get(name)
    return None if value is None else str(value["string_value"])


def _count(config: Mapping[str, Any], name: str) -> int:
    written = parameter(config, name)
    number = 0 if written is None else whole(written)
    if number is None:
        raise Refused(f"parameter {name} is '{written}', expected a whole number")
    return number


def _boolean(config: Mapping[str, Any], name: str) -> bool | None:
    written = parameter(config, name)
    value = None if written is None else boolean(written)
    if written is not None and value is None:
        raise Refused(f"parameter {name} is '{written}', expected true or false")
    return value


def session_options(config: Mapping[str, Any]) -> onnxruntime.SessionOptions:
    """Return the session options of a configuration; Refused for a value that can't be used."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL_ONLY
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = LEVELS.get(level, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)
    options.intra_op_num_threads = max(0, _count(config, "intra_op_thread_count"))
    options.inter_op_num_threads = max(0, _count(config, "inter_op_thread_count"))
    mode = _count(config, "execution_mode")
    if mode not in (0, 1):
        raise Refused(f"parameter execution_mode is {mode}, expected 0 or 1")
    options.execution_mode = (
        onnxruntime.ExecutionMode.ORT_PARALLEL if mode else onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    )
    # Between runs, threads that spin while they wait would take cores from the server and its clients.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    for name, attribute in (("enable_mem_arena", "enable_cpu_mem_arena"), ("enable_mem_pattern", "enable_mem_pattern")):
        value = _boolean(config, name)
        if value is not None:
            setattr(options, attribute, value)
    return options


def run_options(config: Mapping[str, Any]) -> onnxruntime.RunOptions | None:
    """Return the run options of a configuration, or None for ONNX Runtime's defaults."""
    key = "memory.enable_memory_arena_shrinkage"
    shrinkage = parameter(config, key)
    if shrinkage is None:
        return None
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(key, shrinkage)
    return options


def model_file(repository: str, version: str, config: Mapping[str, Any]) -> Path:
    """Return the file of a version: ``model.onnx`` in it if the model file's name is a folder."""
    path = Path(repository, version, config.get("default_model_filename") or "model.onnx")
    if not path.exists():
        raise Refused(f"failed to stat file {path}")
    path = path / "model.onnx" if path.is_dir() else path
    if not path.exists():
        raise Refused(f"unable to find '{path}'")
    return path


def open_session(path: Path, config: Mapping[str, Any]) -> onnxruntime.InferenceSession:
    """Open a model on the CPU; Refused with ONNX Runtime's reason."""
    try:
        return onnxruntime.InferenceSession(str(path), session_options(config), providers=["CPUExecutionProvider"])
    except Refused:
        raise
    except Exception as error:  # ONNX Runtime's errors share no class but Exception
        raise Refused(f"onnx runtime error: {error}") from error


def declared(session: onnxruntime.InferenceSession) -> Model:
    """Return what a session's model declares."""
    return Model(
        tuple(map(_tensor, session.get_inputs())),
        tuple(map(_tensor, session.get_outputs())),
        tuple(map(_tensor, session.get_overridable_initializers())),
    )


def _tensor(value: Any) -> Tensor:
    dims = tuple(dim if isinstance(dim, int) else -1 for dim in value.shape or ())
    return Tensor(value.name, DATA_TYPES.get(value.type, value.type), dims)
