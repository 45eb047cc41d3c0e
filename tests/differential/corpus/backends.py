"""Models that a real backend runs, a second each: Python's, and our onnxruntime, which follows the one in C++."""

from collections.abc import Sequence

from tests import onnx_files
from tests.differential.case import Case
from tests.differential.texts import X, Y

CODE = """import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("y", pb_utils.get_input_tensor_by_name(request, "x").as_numpy())]
            )
            for request in requests
        ]
"""
PYTHON = f'backend: "python"\n{X}{Y}'
ROW = 'inputs { key: "x" value { data_type: TYPE_FP32 dims: 4 zero_data: true } }'
WARM = 'model_warmup { name: "w" batch_size: %d ' + ROW + " }"
ROWS = onnx_files.model().SerializeToString()
ONE_ROW = onnx_files.model(
    inputs=[("x", onnx_files.FLOAT, [1, 4])], outputs=[("y", onnx_files.FLOAT, [1, 4])]
).SerializeToString()
BATCHED = f'backend: "onnxruntime"\nmax_batch_size: 8\n{X}{Y}'
WHOLE = f'backend: "onnxruntime"\n{X}{Y}'.replace("[ 4 ]", "[ -1, 4 ]")


def _python(name: str, code: str, config: str = PYTHON, errors: str = "", alone: bool = False) -> Case:
    return Case(f"python_{name}", config, {"1/model.py": code}, errors=tuple(errors.split()), alone=alone)


def _onnx(name: str, config: str, errors: str = "", file: bytes = ROWS, versions: Sequence[str] = ("1",)) -> Case:
    files = {f"{version}/model.onnx": file for version in versions}
    return Case(f"onnx_{name}", config, files, tuple(versions), tuple(errors.split()))


CASES = [
    _python("plain", CODE),
    _python("not_python", "def execute(:\n", errors="PY-SYNTAX"),
    _python("empty", "", errors="PY-CLASS"),
    _python("other_class", CODE.replace("TritonPythonModel", "Model"), errors="PY-CLASS"),
    _python("warm", CODE, PYTHON + "max_batch_size: 4 " + WARM % 4),
    _python("warm_too_large", CODE, PYTHON + "max_batch_size: 4 " + WARM % 5, "WARM-BS", alone=True),
    _python("forced", CODE, PYTHON + 'parameters { key: "FORCE_CPU_ONLY_INPUT_TENSORS" value { string_value: "no" } }'),
    _python(
        "forced_by_a_word",
        CODE,
        PYTHON + 'parameters { key: "FORCE_CPU_ONLY_INPUT_TENSORS" value { string_value: "false" } }',
        "PY-FORCE",
    ),
    _onnx("batched", BATCHED),
    _onnx("whole", WHOLE),
    _onnx("whole_shapes_batched", BATCHED.replace("[ 4 ]", "[ -1, 4 ]"), "ORT-DIM"),
    _onnx("unbatched", BATCHED.replace("max_batch_size: 8", ""), "ORT-DIM"),
    _onnx("other_dims", BATCHED.replace("[ 4 ]", "[ 5 ]"), "ORT-DIM"),
    _onnx("other_type", BATCHED.replace("TYPE_FP32", "TYPE_FP16"), "ORT-TYPE"),
    _onnx("other_name", BATCHED.replace('"x"', '"z"'), "ORT-NAME"),
    _onnx("one_more_input", BATCHED + 'input { name: "z" data_type: TYPE_FP32 dims: 4 }', "ORT-CNT"),
    _onnx("one_row_batched", BATCHED, "ORT-BATCH", ONE_ROW),
    _onnx("one_row", WHOLE.replace("-1", "1"), "", ONE_ROW),
    _onnx("cut", BATCHED, "ORT-READ", ROWS[:-20]),
    _onnx("rubbish", BATCHED, "ORT-READ", b"rubbish"),
    _onnx("empty", BATCHED, "ORT-READ", b""),
    _onnx("negative_version", BATCHED, "VDIR-NEG", versions=("-1",)),
    _onnx("not_written", 'backend: "onnxruntime"'),
    _onnx("guessed", ""),
]
