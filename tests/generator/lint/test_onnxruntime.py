"""The rules of the onnxruntime backend: a configuration against its model.onnx, and that against a release."""

from pathlib import Path
from typing import Any

import pytest

from modelrepo.generator.lint.text import read
from tests.generator.lint.models import FLOAT, INT64, codes, found, host, lay, onnx_bytes

HEAD = 'backend: "onnxruntime"\nmax_batch_size: 8\n'
X = 'input { name: "x" data_type: TYPE_FP32 dims: 4 }\n'
Y = 'output { name: "y" data_type: TYPE_FP32 dims: 5 }\n'
GOOD = HEAD + X + Y


def model(folder: Path, config: str | None = GOOD, content: bytes | None = None, **files: bytes) -> Path:
    return lay(folder / "net", config, {"1/model.onnx": onnx_bytes() if content is None else content, **files})


def test_a_configuration_that_fits_has_no_findings(tmp_path: Path) -> None:
    assert not found(model(tmp_path), host("26.09"), host("24.10", gpus=2))


@pytest.mark.parametrize(
    ("config", "code", "line", "write"),
    [
        (HEAD + X.replace("4", "3") + Y, "ORT-DIM", 3, "Write dims: [ 4 ]"),
        (HEAD + X.replace("4", "[ 4, 1 ]") + Y, "ORT-DIM", 3, "Write dims: [ 4 ]"),
        (HEAD + X + Y.replace("5", "-1"), "ORT-DIM", 4, "Write dims: [ 5 ]"),
        (HEAD.replace("8", "0") + X + Y, "ORT-DIM", 3, "Write dims: [ -1, 4 ]"),
        (HEAD + X.replace("FP32", "FP16") + Y, "ORT-TYPE", 3, "Write data_type: TYPE_FP32"),
        (HEAD + X.replace('"x"', '"X"') + Y, "ORT-NAME", 3, "Write the name that the model has"),
        (HEAD + X + Y.replace('"y"', '"z"'), "ORT-NAME", 4, "Write the name that the model has"),
        (HEAD + X + X.replace('"x"', '"w"') + Y, "ORT-CNT", 3, "List every input"),
        (HEAD + X + Y + 'parameters { key: "execution_mode" value { string_value: "2" } }', "ORT-PARAM", 5, "0, 1"),
        (HEAD + X + Y + 'parameters { key: "enable_mem_arena" value { string_value: "yes" } }', "ORT-PARAM", 5, "true"),
        (
            HEAD + X + Y + 'optimization { execution_accelerators { cpu_execution_accelerator { name: "one" } } }',
            "ORT-EA",
            5,
            "Write openvino",
        ),
        (HEAD + X.replace("dims", "allow_ragged_batch: true dims") + Y, "ORT-RAG", 3, "Take out"),
    ],
)
def test_what_differs_from_the_model_is_found(tmp_path: Path, config: str, code: str, line: int, write: str) -> None:
    findings = [each for each in found(model(tmp_path, config)) if each.code == code]
    assert findings
    assert {each.severity for each in findings} == {"error"}
    assert findings[0].problem.place.line == line
    assert write in findings[0].problem.write


def test_the_backend_is_found_as_the_core_finds_it(tmp_path: Path) -> None:
    wrong = HEAD.replace("8", "0") + X + Y
    for number, way in enumerate(('platform: "onnxruntime_onnx"', "", 'default_model_filename: "model.onnx"')):
        folder = model(tmp_path / str(number), wrong.replace('backend: "onnxruntime"', way))
        assert codes(folder) == {"ORT-DIM"}
    assert not codes(model(tmp_path / "other", wrong.replace("onnxruntime", "identity")))


def test_a_backend_of_the_models_own_is_not_judged(tmp_path: Path) -> None:
    wrong = HEAD.replace("8", "0") + X + Y
    assert not codes(model(tmp_path / "library", wrong, **{"libtriton_onnxruntime.so": b""}))
    assert not codes(model(tmp_path / "python", wrong + 'runtime: "model.py"'))


def test_an_output_has_the_sizes_that_onnx_runtime_infers(tmp_path: Path) -> None:
    open_file = onnx_bytes(outputs=[("y", FLOAT, ["N", None])])
    assert not codes(model(tmp_path / "1", GOOD, open_file))
    assert codes(model(tmp_path / "2", HEAD + X + Y.replace("5", "-1"), open_file)) == {"ORT-DIM"}
    assert not codes(model(tmp_path / "3", GOOD, onnx_bytes(outputs=[("y", FLOAT, None)])))


def test_a_size_that_only_onnx_runtime_may_know_is_no_error(tmp_path: Path) -> None:
    from onnx import helper

    node = helper.make_node("NonZero", ["x"], ["y"])
    content = onnx_bytes(outputs=[("y", INT64, [None, None])], nodes=[node], initializers=[])
    y = 'output { name: "y" data_type: TYPE_INT64 dims: [ 2, 7 ] }'
    x = 'input { name: "x" data_type: TYPE_FP32 dims: [ -1, 4 ] }\n'
    findings = found(model(tmp_path, f"{HEAD.replace('8', '0')}{x}{y}", content))
    assert [(each.code, each.severity) for each in findings] == [("ORT-SHAPE", "warning")]


def test_what_is_not_written_is_filled_in_and_can_be_written(tmp_path: Path) -> None:
    folder = model(tmp_path, 'backend: "onnxruntime"\n')
    (finding,) = found(folder)
    assert (finding.code, finding.severity) == ("ORT-AUTO", "information")
    assert "max_batch_size: 4 and dynamic batching" in finding.problem.says
    (edit,) = finding.problem.edits
    mended = 'backend: "onnxruntime"\n' + edit.text
    assert read(Path("config.pbtxt"), mended).message.max_batch_size == 4
    (folder / "config.pbtxt").write_text(mended)
    assert not found(folder)


def test_a_fixed_batch_can_neither_be_batched_nor_completed(tmp_path: Path) -> None:
    fixed = onnx_bytes([("x", FLOAT, [1, 4])], [("y", FLOAT, [1, 5])])
    assert codes(model(tmp_path / "1", GOOD, fixed)) == {"ORT-BATCH"}
    assert codes(model(tmp_path / "2", HEAD, fixed)) == {"ORT-AUTOFILL"}


def test_fields_that_the_core_refuses_are_its_rules_alone(tmp_path: Path) -> None:
    assert not codes(model(tmp_path, HEAD + 'input { name: "x" dims: 4 }\n' + Y))


def test_a_model_is_judged_for_each_release(tmp_path: Path) -> None:
    findings = found(model(tmp_path, GOOD, onnx_bytes(opset=22, ir=11)), host("24.10"), host("26.09"))
    assert {(each.code, each.releases) for each in findings} == {("ORT-OPSET", ("24.10",)), ("ORT-IR", ("24.10",))}


def test_what_is_not_known_of_a_release_is_said(tmp_path: Path) -> None:
    (finding,) = found(model(tmp_path, GOOD, onnx_bytes(opset=17, ir=14)), host("26.10"))
    assert (finding.code, finding.severity) == ("ORT-NEWER", "warning")
    assert "is not known" in finding.problem.says


def test_bf16_is_a_type_of_newer_releases(tmp_path: Path) -> None:
    from onnx import helper

    content = onnx_bytes(
        [("x", 16, ["N", 4])], [("y", 16, ["N", 4])], [helper.make_node("Relu", ["x"], ["y"])], 17, 8, []
    )
    config = GOOD.replace("FP32", "BF16").replace("5", "4")
    assert codes(model(tmp_path, config, content), host("25.12")) == {"ORT-BF16"}
    assert not codes(tmp_path / "net", host("26.03"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (onnx_bytes()[:-9], "truncated"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
        (b"\xff" * 300, "not an ONNX model"),
        (b"\x08\x08", "it has no graph"),
        (b"<!doctype html><html></html>", "it is a web page"),
    ],
)
def test_what_is_not_an_onnx_file_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    (finding,) = found(model(tmp_path, GOOD, content))
    assert finding.code == "ORT-READ"
    assert said in finding.problem.says


def test_a_file_of_onnx_runtimes_own_format_is_not_judged(tmp_path: Path) -> None:
    assert not codes(model(tmp_path, GOOD, b"\x1c\0\0\0ORTM" + bytes(20)))


def test_a_file_that_is_missing_is_found_and_a_folder_of_that_name_serves(tmp_path: Path) -> None:
    assert codes(lay(tmp_path / "gone", GOOD, {})) == {"VDIR-EMPTY"}
    assert codes(lay(tmp_path / "empty", GOOD, {"1/model.onnx/weights": b"w"})) == {"ORT-FILE"}
    assert not codes(lay(tmp_path / "folder", GOOD, {"1/model.onnx/model.onnx": onnx_bytes()}))
    named = GOOD + 'default_model_filename: "net.onnx"'
    assert not codes(lay(tmp_path / "named", named, {"1/net.onnx": onnx_bytes()}))


def test_only_the_versions_that_are_served_count(tmp_path: Path) -> None:
    folder = lay(tmp_path / "net", GOOD, {"2/model.onnx": onnx_bytes()})
    assert not codes(folder)
    (folder / "config.pbtxt").write_text(GOOD + "version_policy { all { } }")
    assert codes(folder) == {"VALL"}
    (folder / "config.pbtxt").write_text(GOOD + "version_policy { specific { versions: 1 } }")
    assert codes(folder) == {"VDIR-EMPTY"}


def external(location: str, offset: int | str | None = None, length: int | None = None) -> bytes:
    from onnx import TensorProto

    tensor = TensorProto(name="w", data_type=FLOAT, dims=[4, 5], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    for key, value in (("offset", offset), ("length", length)):
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return onnx_bytes(initializers=[tensor])


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (external("w.bin"), ""),
        (external("w.bin", 0, 80), ""),
        (external("sub/w.bin"), ""),
        (external("w.bin", 4, 80), "ORT-EXT"),  # ends behind the file
        (external("w.bin", 0, 76), "ORT-EXT"),  # not the size of the tensor
        (external("w.bin", -4, 80), "ORT-EXT"),
        (external("w.bin", " 0", 80), "ORT-EXT"),
        (external("gone.bin"), "ORT-EXT"),
        (external(""), "ORT-EXT"),
        (external("sub"), "ORT-EXT"),
        (external("../w.bin"), "ORT-OUTSIDE"),
        (external("link.bin"), "ORT-OUTSIDE"),
    ],
)
def test_external_weights_are_there_inside_the_folder_and_long_enough(
    tmp_path: Path, content: bytes, code: str
) -> None:
    weights: dict[str, Any] = {name: bytes(80) for name in ("1/w.bin", "1/sub/w.bin", "w.bin")}
    folder = model(tmp_path, GOOD, content, **weights)
    (folder / "1" / "link.bin").symlink_to("../w.bin")
    assert codes(folder) == ({code} if code else set())
    outside = code == "ORT-OUTSIDE"
    assert codes(folder, host("26.01")) == (set() if outside else {code} if code else set())


def test_nothing_is_filled_in_from_a_file_that_can_not_be_opened(tmp_path: Path) -> None:
    assert codes(model(tmp_path, HEAD, external("gone.bin"))) == {"ORT-EXT"}


def test_a_file_of_weights_is_missed_once(tmp_path: Path) -> None:
    from onnx import ModelProto

    made = ModelProto.FromString(external("gone.bin"))
    made.graph.initializer.add(name="more").CopyFrom(made.graph.initializer[0])
    (finding,) = [each for each in found(model(tmp_path, GOOD, made.SerializeToString())) if each.code == "ORT-EXT"]
    assert "the weights w and 1 more in gone.bin" in finding.problem.says


def test_files_of_weights_that_are_missing_are_one_finding(tmp_path: Path) -> None:
    from onnx import ModelProto

    made = ModelProto.FromString(external("gone.bin"))
    for name in ("away.bin", "lost.bin", "w.bin", "short.bin"):
        tensor = made.graph.initializer.add(name=name)
        tensor.CopyFrom(made.graph.initializer[0])
        tensor.external_data[0].value = name
    content = {"1/w.bin": bytes(80), "1/short.bin": bytes(79)}
    missing, short = (
        each.problem
        for each in found(model(tmp_path, GOOD, made.SerializeToString(), **content))
        if each.code == "ORT-EXT"
    )
    assert "has weights in gone.bin and 2 other files, which are not there" in missing.says
    assert missing.write == "Copy gone.bin and 2 others from where the model was exported, beside model.onnx"
    assert "short.bin has 79 bytes" in short.says


def test_a_file_of_another_name_is_named(tmp_path: Path) -> None:
    folder = lay(tmp_path / "net", GOOD, {"1/onnx/model.onnx": onnx_bytes(), "1/tokenizer.json": "{}"})
    (finding,) = found(folder)
    assert finding.code == "VDIR-EMPTY"
    assert 'Write default_model_filename: "onnx/model.onnx"' in finding.problem.write
    (folder / "config.pbtxt").write_text('default_model_filename: "onnx/model.onnx"\n' + GOOD)
    assert not found(folder)


def test_an_opset_of_old_may_have_operators_that_are_gone(tmp_path: Path) -> None:
    assert codes(model(tmp_path / "1", GOOD, onnx_bytes(opset=6))) == {"ORT-OLD"}
    assert not codes(model(tmp_path / "2", GOOD, onnx_bytes(opset=7)))


def test_a_linked_model_has_its_weights_beside_the_file_itself(tmp_path: Path) -> None:
    folder = lay(tmp_path / "net", GOOD, {"../store/model.onnx": external("w.bin"), "../store/w.bin": bytes(80)})
    for name in ("model.onnx", "w.bin"):
        (folder / "1" / name).symlink_to(f"../../store/{name}")
    assert not codes(folder)


def test_an_output_that_is_not_a_tensor_is_refused(tmp_path: Path) -> None:
    from onnx import helper

    value = helper.make_value_info("s", helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, [4])))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("SequenceConstruct", ["x"], ["s"])]
    content = onnx_bytes(outputs=[("y", FLOAT, ["N", 5]), value], nodes=nodes)
    assert codes(model(tmp_path, GOOD, content)) == {"ORT-SEQ"}


def test_accelerators_of_a_gpu_count_on_a_gpu_alone(tmp_path: Path) -> None:
    written = 'optimization { execution_accelerators { gpu_execution_accelerator { name: "tensorrt" parameters { key: '
    folder = model(tmp_path, GOOD + written + '"trt_fp16" value: "1" } } } }')
    assert not codes(folder)
    assert codes(folder, host(gpus=1)) == {"ORT-EA"}
    assert codes(folder, host(gpus=None)) == {"ORT-EA-GPU"}


@pytest.mark.parametrize(
    ("accelerator", "refused"),
    [
        ('"tensorrt" parameters { key: "trt_engine_cache_enable" value: "true" }', False),
        ('"tensorrt" parameters { key: "trt_engine_cache_enable" value: "yes" }', True),
        ('"tensorrt" parameters { key: "trt_min_subgraph_size" value: "5" }', False),
        ('"tensorrt" parameters { key: "trt_min_subgraph_size" value: "few" }', True),
        ('"tensorrt" parameters { key: "trt_dla_core" value: "3000000000" }', True),
        ('"tensorrt" parameters { key: "max_workspace_size_bytes" value: "3000000000" }', False),
        ('"tensorrt" parameters { key: "max_workspace_size_bytes" value: "GB" }', True),
        ('"tensorrt" parameters { key: "trt_profile_min_shapes" value: "x:1x4" }', False),
        ('"cuda" parameters { key: "do_copy_in_default_stream" value: "yes" }', True),
        ('"cuda" parameters { key: "do_copy_in_default_stream" value: "1" }', False),
    ],
)
def test_the_values_of_an_accelerator_are_those_that_the_backend_reads(
    tmp_path: Path, accelerator: str, refused: bool
) -> None:
    written = f"optimization {{ execution_accelerators {{ gpu_execution_accelerator {{ name: {accelerator} }} }} }}"
    assert codes(model(tmp_path, GOOD + written), host(gpus=1)) == ({"ORT-EA"} if refused else set())


def test_bf16_with_tensorrt_is_of_newer_releases(tmp_path: Path) -> None:
    key = 'parameters { key: "precision_mode" value: "BF16" }'
    written = f'optimization {{ execution_accelerators {{ gpu_execution_accelerator {{ name: "tensorrt" {key} }} }} }}'
    folder = model(tmp_path, GOOD + written)
    assert codes(folder, host("26.01", gpus=1)) == {"ORT-EA"}
    assert not codes(folder, host("26.02", gpus=1))


@pytest.mark.parametrize(("name", "value"), [("gpu_mem_limit", "4GB"), ("do_copy_in_default_stream", "on")])
def test_what_onnx_runtime_reads_itself_has_no_units_and_other_words(tmp_path: Path, name: str, value: str) -> None:
    text = f'instance_group {{ kind: KIND_GPU }} parameters {{ key: "{name}" value {{ string_value: "%s" }} }}'
    assert codes(model(tmp_path / "1", GOOD + text % value), host(gpus=1)) == {"ORT-PARAM"}
    assert not codes(model(tmp_path / "2", GOOD + text % "1"), host(gpus=1))


@pytest.mark.parametrize(
    ("names", "data_type", "expected"),
    [(("s", "t"), "FP32", set()), (("s", "u"), "FP32", {"ORT-STATE"}), (("s", "t"), "INT32", {"ORT-STATE"})],
)
def test_a_state_that_the_model_lacks_fails_with_requests(
    tmp_path: Path, names: tuple[str, str], data_type: str, expected: set[str]
) -> None:
    from onnx import helper

    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Identity", ["s"], ["t"])]
    content = onnx_bytes(
        [("x", FLOAT, ["N", 4]), ("s", FLOAT, ["N", 1])], [("y", FLOAT, ["N", 5]), ("t", FLOAT, ["N", 1])], nodes
    )
    state = 'sequence_batching { state { input_name: "%s" output_name: "%s" data_type: TYPE_%s dims: 1 } }'
    assert codes(model(tmp_path, GOOD + state % (*names, data_type), content)) == expected


def test_a_number_that_an_int_does_not_hold_ends_the_server(tmp_path: Path) -> None:
    text = 'parameters { key: "intra_op_thread_count" value { string_value: "2147483648" } }'
    (finding,) = found(model(tmp_path, GOOD + text))
    assert finding.code == "ORT-PARAM"
    assert "The server dies" in finding.problem.says


def test_an_operator_of_another_domain_needs_its_library(tmp_path: Path) -> None:
    from onnx import helper

    content = onnx_bytes(nodes=[helper.make_node("Twice", ["x"], ["y"], domain="some.where")])
    assert codes(model(tmp_path / "1", GOOD, content)) == {"ORT-OPS"}
    library = 'model_operations { op_library_filename: "/opt/twice.so" }'
    assert not codes(model(tmp_path / "2", GOOD + library, content))
    assert not codes(model(tmp_path / "3", GOOD, onnx_bytes(nodes=[_fused()])))


def _fused() -> Any:
    from onnx import helper

    return helper.make_node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft")


def test_what_only_onnx_runtime_knows_is_no_reason_to_refuse(tmp_path: Path) -> None:
    content = onnx_bytes(outputs=[("y", FLOAT, None)], nodes=[_fused()])
    assert not codes(model(tmp_path, HEAD, content))


def test_what_triton_can_not_complete_is_refused(tmp_path: Path) -> None:
    from onnx import helper

    for number, wrong in enumerate(
        (onnx_bytes([("x", FLOAT, [0, 4])], [("y", FLOAT, [0, 5])]), onnx_bytes([("x", 17, ["N", 4])])),
    ):
        assert codes(model(tmp_path / str(number), HEAD.replace("8", "0"), wrong)) == {"ORT-AUTOFILL"}
    value = helper.make_tensor_sequence_value_info("y", FLOAT, ["N", 4])
    listed = onnx_bytes(outputs=[value], nodes=[helper.make_node("SequenceConstruct", ["x"], ["y"])], initializers=[])
    assert codes(model(tmp_path / "list", None, listed)) == {"ORT-SEQ"}


def test_types_are_called_as_the_backend_calls_them(tmp_path: Path) -> None:
    from onnx import helper

    node = helper.make_node("Identity", ["x"], ["y"])
    text = onnx_bytes([("x", 8, ["N", 4])], [("y", 8, ["N", 4])], [node], initializers=[])
    (x, *_) = found(model(tmp_path, HEAD + X + Y.replace("5", "4"), text))
    assert "configuration expects datatype TYPE_FP32 for input 'x', model provides TYPE_BYTES" in x.problem.says


def test_a_large_file_is_read_without_its_weights(tmp_path: Path) -> None:
    folder = model(tmp_path)
    path = folder / "1" / "model.onnx"
    with path.open("r+b") as file:
        file.truncate(5 << 30)  # nothing is written: the file has a hole
    assert {each.code for each in found(folder)} == {"ORT-READ", "ORT-2GB"}
