"""Configurations against the files that they serve: those that Triton's Python backend and our stand-in decide."""

from tests.differential.case import Case
from tests.generator.lint.models import FLOAT, onnx_bytes

X = 'input { name: "x" data_type: TYPE_FP32 dims: 4 }\n'
Y = 'output { name: "y" data_type: TYPE_FP32 dims: 5 }\n'
PY = 'backend: "python"\n' + X + Y
CODE = "class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"
LATE = "try:\n    import nothing\nexcept ImportError:\n    class TritonPythonModel:\n        execute = print\n"
ORT = 'backend: "onnxruntime"\nmax_batch_size: 8\n' + X + Y
MODEL = {"1/model.onnx": onnx_bytes()}
FIXED = {"1/model.onnx": onnx_bytes([("x", FLOAT, [1, 4])], [("y", FLOAT, [1, 5])])}
OPEN = {"1/model.onnx": onnx_bytes(outputs=[("y", FLOAT, ["N", None])])}

# A model that completes its configuration, and parts of what it fills in.
COMPLETING = (
    CODE
    + """
    @staticmethod
    def auto_complete_config(made):
        made.add_input({"name": "x", "data_type": "TYPE_FP32", "dims": [1]})
        made.add_output({"name": "y", "data_type": "TYPE_FP32", "dims": [1]})
        made.set_max_batch_size(4)
        return made
"""
)
PARTS = 'backend: "python"\ninput { name: "x" data_type: TYPE_FP32 }\noutput { name: "y" dims: 1 }\n'
SCALAR = 'backend: "python"\ninput { name: "x" data_type: TYPE_FP32 dims: 1 reshape { } }\n'
SOURCE = 'backend: "python"\nbatch_input { data_type: TYPE_FP32 target_name: "z" source_input: "x" }\n'


def _environment(name: str) -> str:
    return f'parameters {{ key: "EXECUTION_ENV_PATH" value {{ string_value: "$$TRITON_MODEL_DIRECTORY/{name}" }} }}'


def _forced(value: str) -> str:
    return f'parameters {{ key: "FORCE_CPU_ONLY_INPUT_TENSORS" value {{ string_value: "{value}" }} }}'


CASES = [
    Case("python_good", PY, {"1/model.py": CODE}),
    Case("python_named", PY + 'default_model_filename: "net.py"', {"1/net.py": CODE}),
    Case("python_imported", PY, {"1/model.py": "from net import *\n", "1/net.py": CODE}),
    Case("python_dynamic", PY, {"1/model.py": "globals()['TritonPythonModel'] = type('A', (), {'execute': print})\n"}),
    Case("python_late", PY, {"1/model.py": LATE}),
    Case("python_no_execute", PY, {"1/model.py": "class TritonPythonModel: pass\n"}),
    Case("python_latin", PY, {"1/model.py": b"# \xe9\n" + CODE.encode()}),
    Case("python_empty", PY, {"1/model.py": ""}, errors=("PY-CLASS",)),
    Case("python_no_class", PY, {"1/model.py": "class Model: pass\n"}, errors=("PY-CLASS",)),
    Case("python_syntax", PY, {"1/model.py": "def (\n"}, errors=("PY-SYNTAX",)),
    Case("python_nul", PY, {"1/model.py": b"x = 1\0"}, errors=("PY-SYNTAX",)),
    Case("python_folder", PY, {"1/model.py/net.py": CODE}, errors=("VDIR-EMPTY",)),
    Case("python_environment", PY + _environment("env.tar.gz"), {"1/model.py": CODE}, errors=("PY-ENV",)),
    Case("python_forced", PY + _forced("Yes"), {"1/model.py": CODE}, errors=("PY-FORCE",)),
    Case("python_not_forced", PY + _forced("no"), {"1/model.py": CODE}),
    Case("python_fills_parts", PARTS, {"1/model.py": COMPLETING}),
    Case("python_fills_no_parts", PARTS, {"1/model.py": CODE}, errors=("IO",)),
    Case("python_fills_no_name", PARTS.replace('name: "x"', ""), {"1/model.py": COMPLETING}, errors=("IO",)),
    Case("python_fills_a_batch", SCALAR, {"1/model.py": COMPLETING}),
    Case("python_fills_no_batch", SCALAR + Y, {"1/model.py": CODE}, errors=("RESHAPE",)),
    Case("python_fills_a_source", SOURCE, {"1/model.py": COMPLETING}),
    Case("python_fills_no_source", SOURCE, {"1/model.py": CODE}, errors=("BATCHIO",)),
    Case("onnx_fills_no_parts", ORT.replace("data_type: TYPE_FP32", "", 1), MODEL, errors=("IO",)),
    Case("onnx_good", ORT, MODEL),
    Case("onnx_completed", 'backend: "onnxruntime"\n', MODEL),
    Case("onnx_without_config", None, MODEL),
    Case("onnx_in_folder", ORT, {"1/model.onnx/model.onnx": onnx_bytes()}),
    Case("onnx_inferred", ORT, OPEN),
    Case("onnx_not_inferred", ORT.replace("dims: 5", "dims: -1"), OPEN, errors=("ORT-DIM",)),
    Case("onnx_input_dims", ORT.replace("dims: 4", "dims: 3"), MODEL, errors=("ORT-DIM",)),
    Case("onnx_output_dims", ORT.replace("dims: 5", "dims: -1"), MODEL, errors=("ORT-DIM",)),
    Case("onnx_type", ORT.replace("FP32", "FP16", 1), MODEL, errors=("ORT-TYPE",)),
    Case("onnx_name", ORT.replace('"y"', '"z"'), MODEL, errors=("ORT-NAME",)),
    Case("onnx_count", ORT + X.replace('"x"', '"z"'), MODEL, errors=("ORT-CNT", "ORT-NAME")),
    Case("onnx_batch", ORT, FIXED, errors=("ORT-BATCH",)),
    Case("onnx_not_completed", 'backend: "onnxruntime"\nmax_batch_size: 8\n', FIXED, errors=("ORT-AUTOFILL",)),
    Case("onnx_missing", ORT, {"1/other.onnx": onnx_bytes()}, errors=("VDIR-EMPTY",)),
    Case("onnx_truncated", ORT, {"1/model.onnx": onnx_bytes()[:-9]}, errors=("ORT-READ",)),
    Case("onnx_empty", ORT, {"1/model.onnx": b""}, errors=("ORT-READ",)),
]
