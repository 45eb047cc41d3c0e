"""Triton's own QA models, from the programs that write them: the ONNX and TorchScript ones."""

import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.generator.specs.tensors import Array, Arrays
from tests.conftest import PROJECT
from tests.foreign.case import Given, Suite, Task

MODELS = PROJECT / "build/foreign/triton"
# A size for each dimension that a configuration leaves open, and the numbers that are sent.
OPEN, NUMBERS = 4, 5
# What the ONNX files are written for: older than what Triton reads, as in the container that Triton's programs run in.
OPSET, IR = 17, 10


def given(task: Task, folder: Path) -> Given | None:
    """Return a model that PROGRAM/MODEL names, and whole numbers from 0 to 4 for its inputs."""
    program, _, name = task.name.partition("/")
    home = written(Path(task.checkout), program) / name
    files = sorted(home.glob("1/model.*"))
    if not files:
        return None
    config = _config(home)
    inputs = {_name(each): _values(each, config.max_batch_size) for each in _declared(config)}
    if files[0].suffix == ".onnx":
        inputs = {**_undeclared(files[0]), **inputs}
        return Given(f"onnx:{files[0]}", inputs, lambda arrays, _: _asked(files[0], arrays))
    shape = ",".join(f"{key}={_written(array)}" for key, array in inputs.items())
    return Given(
        f"torchscript:{files[0]}",
        inputs,
        lambda arrays, _: _called(files[0], arrays),
        {"input_shape": shape},
        named=False,
    )


@cache
def written(checkout: Path, program: str) -> Path:
    """Run a program of qa/common once, PROGRAM or PROGRAM+FLAG, and return the folder with its models."""
    folder = MODELS / program
    if not folder.exists():
        name, *flags = program.split("+")
        common = checkout / "qa/common"
        source = (common / f"{name}.py").read_text("utf-8")
        flags += [flag for flag in ("onnx", "libtorch") if f'"--{flag}"' in source]
        arguments = [f"--models_dir={folder}", f"--onnx_opset={OPSET}", *(f"--{flag}" for flag in flags)]
        folder.mkdir(parents=True)
        subprocess.run([sys.executable, f"{name}.py", *arguments], cwd=common, check=False, capture_output=True)
        for path in folder.rglob("*.onnx"):
            _lower_ir(path)
    return folder


def _lower_ir(path: Path) -> None:
    """Give a file the IR version that Triton reads: the onnx package writes its newest."""
    import onnx

    model = onnx.load(str(path))
    model.ir_version = min(model.ir_version, IR)
    path.write_bytes(model.SerializeToString())


def _config(home: Path) -> Any:
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    return text_format.Parse((home / "config.pbtxt").read_text("utf-8"), model_config_pb2.ModelConfig())


def _declared(config: Any) -> list[Any]:
    """Return the inputs of a configuration, with the control inputs and the states of a sequence model."""
    return [*config.input, *config.sequence_batching.state, *config.sequence_batching.control_input]


def _undeclared(path: Path) -> Arrays:
    """Return ones for the inputs of a file, which Triton itself fills where a configuration declares none of them."""
    import onnxruntime

    kinds = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
    try:
        found = onnxruntime.InferenceSession(str(path)).get_inputs()
    except Exception:  # `generate` is to say so
        return {}
    shapes = {each.name: [size if isinstance(size, int) else 1 for size in each.shape or [1]] for each in found}
    return {each.name: np.ones(shapes[each.name], kinds.get(each.type, np.float32)) for each in found}


def _name(declared: Any) -> str:
    return str(declared.name if hasattr(declared, "name") else declared.input_name)


def _values(declared: Any, batched: int) -> Array:
    """Return whole numbers from 0 to 4 in the shape and type that a configuration declares for an input."""
    from tritonclient.utils import triton_to_np_dtype

    if not hasattr(declared, "dims"):  # a control input
        kinds = {"fp32_false_true": np.float32, "int32_false_true": np.int32, "bool_false_true": np.bool_}
        kind = next((own for key, own in kinds.items() if getattr(declared.control[0], key)), None)
        dtype = kind or triton_to_np_dtype(_type_name(declared.control[0].data_type))
        return np.ones((1, 1) if batched else (1,), dtype)
    shape = [OPEN if each < 0 else each for each in declared.dims]
    if hasattr(declared, "reshape") and declared.HasField("reshape"):
        shape = [OPEN if each < 0 else each for each in declared.reshape.shape]
    values = np.arange(int(np.prod([1, *shape]))).reshape([1, *shape] if batched else shape) % NUMBERS
    dtype = triton_to_np_dtype(_type_name(declared.data_type))
    return values.astype(str).astype(object) if dtype is np.object_ else values.astype(dtype)


def _type_name(number: int) -> str:
    from tritonclient.grpc import model_config_pb2

    name = str(model_config_pb2.DataType.Name(number)).removeprefix("TYPE_")
    return "BYTES" if name == "STRING" else name


def _written(array: Array) -> str:
    return f"{'x'.join(map(str, array.shape))}:{array.dtype.name}"


def _asked(path: Path, arrays: Arrays) -> Mapping[str, Array]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(arrays)), strict=True))


def _called(path: Path, arrays: Arrays) -> Mapping[str, Array]:
    import torch

    answer = torch.jit.load(str(path))(*(torch.from_numpy(array) for array in arrays.values()))
    answers = answer if isinstance(answer, (list, tuple)) else [answer]
    return {str(number): tensor.numpy() for number, tensor in enumerate(answers)}


def by_hand(task: Task, folder: Path) -> str:
    """Ask an ONNX file itself; export a TorchScript one with torch.onnx, and compare its answers."""
    found = given(task, folder)
    if found is None:
        return "no such model"
    try:
        if found.reference.startswith("onnx:"):
            found.expected(found.inputs, [])
        else:
            _exported(Path(found.reference.partition(":")[2]), found.inputs, folder / "model.onnx")
    except Exception as error:  # of ONNX Runtime, torch, or the comparison
        return f"{type(error).__name__}: {error}"[:300]
    return ""


def _exported(path: Path, inputs: Arrays, target: Path) -> None:
    """Export a TorchScript file; AssertionError if ONNX Runtime answers otherwise than torch."""
    import torch

    tensors = tuple(torch.from_numpy(array) for array in inputs.values())
    torch.onnx.export(torch.jit.load(str(path)), tensors, str(target), input_names=list(inputs), dynamo=False)
    wanted, got = _called(path, inputs), _asked(target, inputs)
    for one, other in zip(wanted.values(), got.values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


SUITE = Suite(
    "Triton's QA models",
    "triton",
    "ONNX and TorchScript files that Triton's own programs write for its tests. They are generated with "
    "`--live-check require`: a real Triton answers, too.",
    ("torch",),
    given,
    by_hand,
    live=True,
)
