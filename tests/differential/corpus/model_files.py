"""Configurations against the files that they serve: those that Triton's Python backend and our stand-in decide."""

from onnx import ModelProto, helper

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


WHOLE = ORT.replace("max_batch_size: 8", "").replace("dims: 4", "dims: [ -1, 4 ]").replace("dims: 5", "dims: [ -1, 5 ]")
ENSEMBLE = (
    'platform: "ensemble"\n%s'
    'ensemble_scheduling { step { model_name: "%s" model_version: -1 input_map { key: "x" value: "x" } '
    'output_map { key: "y" value: "y" } } }'
)
OTHERS = {"1/other.onnx": b"", "spare/model.onnx": b""}
BY_GPU = 'cc_model_filenames { key: "8.6" value: "other.onnx" }\ninstance_group { kind: KIND_CPU }\n'
SEQUENCE = (
    'sequence_batching { control_input { name: "START" control { kind: CONTROL_SEQUENCE_START '
    "int32_false_true: [ 0, 1 ] } } }"
)
FOREIGN = helper.make_node("Twice", ["x"], ["y"], domain="some.where")
ZEROS = [("x", FLOAT, [0, 4])]
CUSTOM = onnx_bytes(nodes=[FOREIGN])
# With its domain, of which ONNX Runtime then says something else.
DOMAIN = helper.make_opsetid("some.where", 1)
IMPORTED = CUSTOM + ModelProto(opset_import=[DOMAIN]).SerializeToString()
ZERO = onnx_bytes(ZEROS, [("y", FLOAT, [0, 5])])
ONE = onnx_bytes([("x", FLOAT, [])], [("y", FLOAT, [])], [helper.make_node("Relu", ["x"], ["y"])], initializers=[])
FUSED = onnx_bytes(
    outputs=[("y", FLOAT, None)], nodes=[helper.make_node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft")]
)
LIST = onnx_bytes(
    outputs=[helper.make_tensor_sequence_value_info("y", FLOAT, ["N", 4])],
    nodes=[helper.make_node("SequenceConstruct", ["x"], ["y"])],
    initializers=[],
)


def _with_function() -> bytes:
    model = ModelProto.FromString(IMPORTED)
    nodes = [
        helper.make_node("Constant", [], ["w"], value=helper.make_tensor("w", FLOAT, [4, 5], [1.0] * 20)),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
    ]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("some.where", "Twice", ["a"], ["b"], nodes, opsets))
    return bytes(model.SerializeToString())


FUNCTION = _with_function()


def _parameter(name: str, value: str) -> str:
    return f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }}'


def _environment(name: str) -> str:
    return f'parameters {{ key: "EXECUTION_ENV_PATH" value {{ string_value: "$$TRITON_MODEL_DIRECTORY/{name}" }} }}'


def _forced(value: str) -> str:
    return f'parameters {{ key: "FORCE_CPU_ONLY_INPUT_TENSORS" value {{ string_value: "{value}" }} }}'


CASES = [
    Case("python_good", PY, {"1/model.py": CODE}),
    Case("python_named", PY + 'default_model_filename: "net.py"', {"1/net.py": CODE}),
    Case("python_hyphen", PY + 'default_model_filename: "my-net.py"', {"1/my-net.py": CODE, "1/model.py": CODE}),
    Case(
        "python_dots",
        PY + 'default_model_filename: "a.b.py"',
        {"1/a.b.py": CODE, "1/model.py": CODE},
        errors=("PY-FILE",),
    ),
    Case(
        "python_ending",
        PY + 'default_model_filename: "net.txt"',
        {"1/net.txt": CODE, "1/model.py": CODE},
        errors=("PY-FILE",),
    ),
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
    Case("onnx_missing", ORT, OTHERS, errors=("VDIR-EMPTY",)),
    Case("onnx_truncated", ORT, {"1/model.onnx": onnx_bytes()[:-9]}, errors=("ORT-READ",)),
    Case("onnx_empty", ORT, {"1/model.onnx": b""}, errors=("ORT-READ",)),
    Case("python_environment_folder", PY + _environment("1"), {"1/model.py": CODE}, errors=("PY-ENV",)),
    Case("python_sequence_of_anything", PY + SEQUENCE, {"1/model.py": CODE}),
    Case("onnx_custom_operator", ORT, {"1/model.onnx": CUSTOM}, errors=("ORT-OPS",)),
    Case("onnx_custom_domain", ORT, {"1/model.onnx": IMPORTED}, errors=("ORT-OPS",)),
    Case("onnx_custom_function", ORT, {"1/model.onnx": FUNCTION}),
    Case("onnx_zero_size", 'backend: "onnxruntime"\n', {"1/model.onnx": ZERO}, errors=("ORT-AUTOFILL",)),
    Case("onnx_scalar_without_config", None, {"1/model.onnx": ONE}),
    Case("onnx_list_without_config", None, {"1/model.onnx": LIST}, errors=("ORT-SEQ",)),
    Case("onnx_shape_of_its_own", 'backend: "onnxruntime"\nmax_batch_size: 8\n', {"1/model.onnx": FUSED}),
    Case("onnx_in_a_subfolder", ORT + 'default_model_filename: "onnx/model.onnx"', {"1/onnx/model.onnx": onnx_bytes()}),
    Case("onnx_gpu_file_on_a_cpu", ORT + BY_GPU, OTHERS, errors=("VDIR-EMPTY",)),
    Case("onnx_threads", ORT + _parameter("intra_op_thread_count", "+2 threads"), MODEL),
    Case("onnx_threads_in_words", ORT + _parameter("intra_op_thread_count", "two"), MODEL, errors=("ORT-PARAM",)),
    Case("onnx_threads_of_a_float", ORT + _parameter("intra_op_thread_count", "2.5"), MODEL),
    Case("onnx_threads_too_many", ORT + _parameter("inter_op_thread_count", str(2**31)), MODEL, errors=("ORT-PARAM",)),
    Case("onnx_threads_padded", ORT + _parameter("inter_op_thread_count", "0" * 20 + "1"), MODEL),
    Case("onnx_mode", ORT + _parameter("execution_mode", "2"), MODEL, errors=("ORT-PARAM",)),
    Case("onnx_arena_on", ORT + _parameter("enable_mem_arena", "ON"), MODEL),
    Case("onnx_arena_yes", ORT + _parameter("enable_mem_arena", "yes"), MODEL, errors=("ORT-PARAM",)),
    Case("onnx_unknown_parameter", ORT + _parameter("session.anything", "1"), MODEL),
    Case(
        "ens_of_broken_python",
        ENSEMBLE % (X + Y, "ens_broken_python_net"),
        errors=("ENS-MODEL",),
        others={"ens_broken_python_net": Case("ens_broken_python_net", PY, {"1/model.py": "def (\n"})},
    ),
    Case(
        "ens_of_broken_onnx",
        ENSEMBLE % (WHOLE.partition("\n")[2], "ens_broken_onnx_net"),
        errors=("ENS-MODEL",),
        others={"ens_broken_onnx_net": Case("ens_broken_onnx_net", WHOLE + _parameter("execution_mode", "2"), MODEL)},
    ),
]
