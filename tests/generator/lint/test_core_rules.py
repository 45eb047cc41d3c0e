"""What the core decides of one configuration: which rule finds what, and where."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.lint.check import check
from modelrepo.generator.lint.completed import completed
from modelrepo.generator.lint.declared import COMPLETES
from modelrepo.generator.lint.finding import Finding
from modelrepo.generator.lint.rules import features, identity, instances, parsing, repositories, tensors, versions
from modelrepo.generator.lint.rules.identity import ENTRY
from modelrepo.generator.lint.subject import Host, Model
from modelrepo.generator.triton.releases import release_named

MODULES = (parsing, identity, tensors, instances, versions, features, repositories)
RULES = tuple(rule for module in MODULES for rule in module.RULES)
QUIET = ("NAME-EMPTY", "AUTOFILL-GUESS")
ONNX = 'backend: "onnxruntime"\n'
PLAN = 'backend: "tensorrt"\n'


def found(
    folder: Path,
    text: str | None,
    *,
    release: str = "24.10",
    gpus: int | None = 0,
    there: tuple[str, ...] = ("1",),
    files: Mapping[str, bytes] | None = None,
) -> list[Finding]:
    model = folder / "net"
    for version in there:
        (model / version).mkdir(parents=True)
    for name, content in (files or {}).items():
        (model / name).write_bytes(content)
    if text is not None:
        (model / "config.pbtxt").write_text(text, "utf-8", errors="surrogateescape")
    return check(model, [Host(release_named(release), gpus=gpus)], RULES)


def told(findings: list[Finding]) -> list[str]:
    """Return code and place of each finding that is not quiet."""
    loud = [finding for finding in findings if finding.code not in QUIET]
    return [f"{finding.code} {finding.problem.place.line}:{finding.problem.place.column}" for finding in loud]


OUTPUT = 'output { name: "y" data_type: TYPE_FP32 dims: 1 }'
CASES = {
    'name: "other"': "NAME 2:1",
    'name: "net"': "",
    "max_batch_size: -1": "MBS-NEG 2:1",
    'platform: "tensorrt_plan"': "PLAT 2:1",
    'platform: "onnxruntime_onnx"': "",
    'runtime: "libtriton_other.so"': "BACKEND 2:1",
    'input { name: "x" dims: 1 }': "IO 2:1",
    'input { name: "x" data_type: TYPE_INVALID dims: 1 }': "IO 2:19",
    "output { data_type: TYPE_FP32 dims: 1 }": "IO 2:1",
    'input { name: "x" data_type: TYPE_FP32 dims: [ 1, 0 ] }': "DIM 2:51",
    'input { name: "x" data_type: TYPE_FP32 dims: 4 reshape { shape: [ 2, 3 ] } }': "RESHAPE 2:67",
    f'input {{ name: "x" data_type: TYPE_FP32 dims: 1 reshape {{ }} }} {OUTPUT}': "RESHAPE 2:48",
    'input { name: "x" data_type: TYPE_FP32 dims: 1 reshape { } }': "",  # ONNX Runtime may fill in max_batch_size
    'max_batch_size: 4 input { name: "x" data_type: TYPE_FP32 dims: 1 reshape { } }': "",
    'input { name: "x" data_type: TYPE_FP32 dims: [ -1, 4 ] reshape { shape: [ 4, -1 ] } }': "RESHAPE 2:75",
    'input { name: "x" data_type: TYPE_FP32 dims: [ -1, 4 ] reshape { shape: [ -1, 2, 2 ] } }': "",
    'input { name: "x" data_type: TYPE_FP32 dims: 4 format: FORMAT_NCHW }': "FORMAT 2:48",
    'input { name: "x" data_type: TYPE_FP32 dims: 4 is_shape_tensor: true }': "SHAPE-T 2:48",
    'input { name: "x" data_type: TYPE_FP32 dims: 4 is_non_linear_format_io: true }': "NON-LINEAR 2:48",
    2 * 'output { name: "x" data_type: TYPE_FP32 dims: 4 }': "DUP-IO 2:59",
    'batch_input { data_type: TYPE_FP32 source_input: "z" } input { name: "x" data_type: TYPE_FP32 dims: 1 }': (
        "BATCHIO 2:36"
    ),
    'batch_input { data_type: TYPE_FP32 source_input: "z" }': "",  # the backend fills in the inputs
    "batch_output { }": "BATCHIO 2:1",
    "instance_group { kind: KIND_GPU }": "IG-GPU 2:18",
    "instance_group { kind: KIND_CPU gpus: 0 }": "IG-CPU 2:33",
    "instance_group { gpus: 0 }": "IG-AUTO 2:18",
    "instance_group { kind: 7 }": "IG-KIND 2:18",
    "instance_group { kind: KIND_CPU count: 0 }": "IG-COUNT 2:33",
    'instance_group { kind: KIND_CPU profile: "0" }': "PROFILE 2:33",
    "version_policy { latest { } }": "VP 2:18",
    "version_policy { specific { versions: [ 2, 1 ] } }": "VP-MISS 2:41",
    "version_policy { specific { versions: [ 2, 2 ] } }": "VP-TWICE 2:44",
    "version_policy { specific { versions: 3 } }": "VP 2:29",
    "version_policy { }": "",
    "response_cache { enable: true } sequence_batching { }": "CACHE 2:18",
    "response_cache { enable: true }": "CACHE-OFF 2:18",
    'model_repository_agents { agents { name: "lock" } }': "AGENT 2:36",
    "model_repository_agents { }": "AGENT-NONE 2:1",
    "model_metrics { }": "FIELD-VER 2:1",
    "max_batch_size: 1\nensemble_scheduling { max_inflight_requests: 1 }": "FIELD-VER 3:23",
    "max_batch_sizes: 1": "PARSE 2:1",
    "input { data_type:\tFP32\n dims: 1 }": "PARSE 2:20",
    "optimization { eager_batching:\n  yes }": "PARSE 3:3",
}


@pytest.mark.parametrize("text", CASES)
def test_a_rule_finds_the_place(tmp_path: Path, text: str) -> None:
    assert told(found(tmp_path, ONNX + text)) == [each for each in (CASES[text],) if each]


PLANS = {
    'instance_group { profile: ["0", " 1x"] }': "",
    'instance_group { profile: "-1" }': "PROFILE 2:18",
    'instance_group { profile: "99999999999" }': "PROFILE-SIZE 2:18",
    'input { name: "x" data_type: TYPE_INT32 dims: 1 is_shape_tensor: true }': "",
    'input { name: "x" data_type: TYPE_FP32 dims: [ 3, 2, 2 ] is_non_linear_format_io: true }': "",
    'input { name: "x" data_type: TYPE_FP32 dims: [ 2, 2 ] is_non_linear_format_io: true }': "NON-LINEAR 2:55",
}


@pytest.mark.parametrize("text", PLANS)
def test_a_plan_may_have_more(tmp_path: Path, text: str) -> None:
    assert told(found(tmp_path, PLAN + text)) == [each for each in (PLANS[text],) if each]


LIBRARY = b"\x7fELF\x02" + ENTRY
PARTS = 'input { name: "x" format: FORMAT_NCHW dims: [ ] } output { name: "y" data_type: TYPE_FP32 reshape { } }'


@pytest.mark.parametrize(
    ("backend", "files", "codes"),
    [
        ("tensorrt", {}, []),
        ("dali", {}, []),
        ("onnxruntime", {}, ["IO 2:1", "IO 2:51"]),
        ("python", {"1/model.py": b"class TritonPythonModel:\n  def auto_complete_config(made): return made"}, []),
        ("python", {"1/model.py": b"class TritonPythonModel: pass"}, ["IO 2:1", "IO 2:51"]),
        ("mine", {"libtriton_mine.so": LIBRARY + b" TRITONBACKEND_ModelSetConfig"}, []),
        ("mine", {"libtriton_mine.so": LIBRARY}, ["IO 2:1", "IO 2:51"]),
    ],
)
def test_a_backend_may_fill_in_types_and_dims(
    tmp_path: Path, backend: str, files: dict[str, bytes], codes: list[str]
) -> None:
    assert told(found(tmp_path, f'backend: "{backend}"\n{PARTS}', files=files)) == codes
    nameless = f'backend: "{backend}"\ninput {{ data_type: TYPE_FP32 dims: 1 }}'
    assert told(found(tmp_path / "nameless", nameless, files=files)) == ["IO 2:1"]


@pytest.mark.parametrize(("gpus", "codes"), [(None, []), (0, ["IG-GPU 2:18"]), (1, ["IG-GPU 2:33"]), (2, [])])
def test_a_gpu_depends_on_the_host(tmp_path: Path, gpus: int | None, codes: list[str]) -> None:
    text = "instance_group { kind: KIND_GPU gpus: 1 }" if gpus else "instance_group { kind: KIND_GPU }"
    assert told(found(tmp_path, ONNX + text, gpus=gpus)) == codes


@pytest.mark.parametrize(
    ("release", "codes"), [("24.10", ["FIELD-VER 2:1"]), ("25.11", ["METRICS 2:17"]), ("26.09", ["METRICS 2:17"])]
)
def test_a_field_depends_on_the_release(tmp_path: Path, release: str, codes: list[str]) -> None:
    text = f"{ONNX}model_metrics {{ metric_control {{ }} }}"
    assert told(found(tmp_path, text, release=release)) == codes


@pytest.mark.parametrize(
    ("buckets", "codes"),
    [("0.5, 1", []), ("1, 1", ["METRICS-ORDER 2:141"]), ("1, nan", ["METRICS-ORDER 2:141"]), ("1", [])],
)
def test_buckets_ascend(tmp_path: Path, buckets: str, codes: list[str]) -> None:
    family = 'metric_identifier { family: "nv_inference_first_response_histogram_ms" }'
    text = f"model_metrics {{ metric_control {{ {family} histogram_options {{ buckets: [ {buckets} ] }} }} }}"
    assert told(found(tmp_path, ONNX + text, release="25.11")) == codes


@pytest.mark.parametrize("release", ["24.10", "26.09"])
def test_torch_aoti_depends_on_the_release(tmp_path: Path, release: str) -> None:
    text = 'backend: "pytorch" platform: "torch_aoti"'
    assert told(found(tmp_path, text, release=release)) == ([] if release == "26.09" else ["PLAT 1:20"])


@pytest.mark.parametrize(
    ("release", "platform", "file"),
    [("26.02", "", ""), ("26.03", "pytorch_libtorch", "model.pt"), ("26.04", "torch_aoti", "model.pt2")],
)
def test_what_is_guessed_of_a_package_of_torch_depends_on_the_release(
    tmp_path: Path, release: str, platform: str, file: str
) -> None:
    (tmp_path / "net/1").mkdir(parents=True)
    (tmp_path / "net/1/model.pt2").touch()
    made = completed(Model("net", tmp_path / "net"), ModelConfig(), release)
    assert (made.platform, made.file) == (platform, file)


SIZES = {
    'input { name: "x" data_type: TYPE_FP32 dims: [ 4611686018427387904, 2 ] }': ["DIM-COUNT 2:48"],
    'input { name: "x" data_type: TYPE_FP32 dims: [ 4611686018427387904, 2, -1 ] }': ["DIM-COUNT 2:48"],
    'input { name: "x" data_type: TYPE_FP32 dims: [ -1, 4611686018427387904, 2 ] }': [],
    'input { name: "x" data_type: TYPE_FP32 dims: [ 4611686018427387904, 1 ] }': [],
    'output { name: "x" data_type: TYPE_FP32 dims: [ 4611686018427387904, 2 ] }': [],
    'output { name: "x" data_type: TYPE_FP32 dims: 1 reshape { shape: [ 4611686018427387904, 2 ] } }': [
        "RESHAPE 2:68",
        "DIM-COUNT 2:49",
    ],
}


@pytest.mark.parametrize("text", SIZES)
def test_elements_are_counted_since_26_03(tmp_path: Path, text: str) -> None:
    assert sorted(told(found(tmp_path / "new", ONNX + text, release="26.03"))) == sorted(SIZES[text])
    assert not [each for each in told(found(tmp_path / "old", ONNX + text, release="26.02")) if "COUNT" in each]


@pytest.mark.parametrize(("content", "codes"), [(b"", {"CONFIG-NONE"}), (COMPLETES, set())])
def test_a_backend_that_makes_no_configuration_needs_one(tmp_path: Path, content: bytes, codes: set[str]) -> None:
    (tmp_path / "net.mine/1").mkdir(parents=True)
    (tmp_path / "net.mine/libtriton_mine.so").write_bytes(identity.ELF + identity.ENTRY + content)
    assert {each.code for each in check(tmp_path, chosen=RULES) if each.severity == "error"} == codes


@pytest.mark.parametrize(("release", "codes"), [("26.05", []), ("26.06", ["BACKEND 1:18"])])
def test_the_folder_of_another_model_is_outside_since_26_06(tmp_path: Path, release: str, codes: list[str]) -> None:
    (tmp_path / "net_2").mkdir()
    (tmp_path / "net_2/x.so").write_bytes(identity.ELF + identity.ENTRY)
    assert told(found(tmp_path, 'backend: "light" runtime: "../net_2/x.so"', release=release)) == codes


BACKENDS = {
    "": ("AUTOFILL 0:0", ""),
    'platform: "onnx"': ("PLAT 1:1", ""),
    'backend: "onnx"': ("BACKEND 1:1", 'Write backend: "onnxruntime"'),
    'backend: "tensorrt_plan"': ("BACKEND 1:1", 'Write backend: "tensorrt"'),
    'backend: "ONNXRuntime"': ("BACKEND 1:1", 'Write backend: "onnxruntime"'),
    'backend: "mine"': ("BACKEND 1:1", ""),
    'backend: "tensorflow"': ("PLAT 1:1", ""),
    'default_model_filename: "model.onnx"': ("", ""),
}


@pytest.mark.parametrize("text", BACKENDS)
def test_a_backend_must_be_known(tmp_path: Path, text: str) -> None:
    code, write = BACKENDS[text]
    findings = found(tmp_path, text)
    assert told(findings) == [each for each in (code,) if each]
    assert write in [finding.problem.write for finding in findings] or not write


@pytest.mark.parametrize(
    ("content", "codes"),
    [
        (b"\x7fELF\x02" + identity.ENTRY, []),
        (b"\x7fELF\x02", ["BACKEND 1:1"]),
        (b"text", ["BACKEND 1:1"]),
        (b"", ["BACKEND 1:1"]),
    ],
)
def test_a_library_may_lie_with_the_model(tmp_path: Path, content: bytes, codes: list[str]) -> None:
    assert told(found(tmp_path, 'backend: "mine"', files={"libtriton_mine.so": content})) == codes


def test_a_guessed_backend_is_told_with_its_edit(tmp_path: Path) -> None:
    findings = found(tmp_path, "max_batch_size: 1", files={"1/model.onnx": b""})
    (guess,) = [finding for finding in findings if finding.code == "AUTOFILL-GUESS"]
    assert [edit.text for edit in guess.problem.edits] == ['backend: "onnxruntime"\n']


# What only TensorRT has, and what some backends fill in.
SPECIAL = """
input { name: "x" data_type: TYPE_INT32 dims: 1 is_shape_tensor: true }
input { name: "y" data_type: TYPE_FP32 dims: [ 4, 2, 2 ] is_non_linear_format_io: true }
output { name: "z" }
instance_group { profile: "0" }
"""


def test_a_model_without_a_backend_is_not_judged_by_one(tmp_path: Path) -> None:
    assert told(found(tmp_path, SPECIAL)) == ["AUTOFILL 0:0"]
    codes = [each.partition(" ")[0] for each in told(found(tmp_path / "onnx", ONNX + SPECIAL))]
    assert sorted(codes) == ["IO", "NON-LINEAR", "PROFILE", "SHAPE-T"]


ADVICE = {
    'input { name: "x" data_type: TYPE_BYTES }': "Write TYPE_STRING",
    'input { name: "x" data_type: type_fp32 }': "Write TYPE_FP32",
    'input { name: "x" data_type: FP32 }': "Write TYPE_FP32",
    'input { name: "x" data_type: TYPE_FLOAT }': "Write TYPE_FP32",
    'input { name: "x" data_type: TYPE_COMPLEX }': "Write one of TYPE_INVALID, TYPE_BOOL, ",
    "instance_group { kind: CPU }": "Write KIND_CPU",
    "max_batchsize: 4": "Write max_batch_size",
    "input { kind: KIND_CPU }": "Write kind where it belongs: it is a field of ",
    '{ "name": "net" }': "Write fields as name: value, one after the other; the text is JSON",
    "\ufeffname: 'net'": "Save the file as UTF-8 without a byte order mark",
    "name: net": "Write the text in quotes",
    "max_batch_size 4": "Write a colon between the field and its value",
    "max_batch_size: MAX_BATCH": "Write a whole number instead of MAX_BATCH",
    'max_batch_size: "4"': "Write a whole number, without quotes",
    "max_batch_size: ${max_batch}": "Fill in ${max_batch}: this is a template of a configuration",
    "max_batch_size: $MAX_BATCH": "Fill in $MAX_BATCH: ",
    "max_batch_size: {max_batch}": "Fill in {max_batch}: ",
    "max_batch_size: {{ batch.largest }}": "Fill in {{ batch.largest }}: ",
    "input { dims: [ <channels>, 3 ] }": "Fill in <channels>: ",
    'input { name: "x" data_type: TYPE_${type} }': "Fill in ${type}: ",
    'input { name: "x" data_type: TYPE_#TYPE\n dims: 1 }': "Write the whole value: TYPE_ is cut short, ",
    "{% if batching %}": "Fill in {% if batching %}: ",
    "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n": "Fetch the file itself: git lfs pull",
    "max_batch_size: 4L": "Write the number without what follows it",
    "// a net": "Write # before a comment",
    "name: \u201cnet\u201d": 'Write straight quotes: "',
    "\udcff\udcfen\0": "Save the file as UTF-8: it is UTF-16",
    "input [\n { dims: [ 4 ]\n ]": "Close the { of line 2 with } before ]",
    "input [ { dims: [ 4 ] }\noutput [ { dims: 1 } ]": "Close the [ of line 1 with ] before output",
    "input [ { dims: [ 4 ] }\n": "Close the [ of line 1 with ]",
    "dynamic_batching { # }\n": "Close the { of line 1 with }",
    "input { dims: 4 } }": "Remove this }: nothing is open",
    "input [ { dims: [ 4 ] }, ]": "Remove the comma before this ]",
    "input { dims: [ 4, ] }": "Remove the comma before this ]",
    "input [ { dims: 4 } { dims: 4 } ]": "Write a comma between the entries of a list",
    "input { dims: [ 3 224 ] }": "Write a comma between the entries of a list",
    "input { dims: [ 3, x ] }": "Write a whole number instead of x",
    "max_batch_size:": "Write a whole number",
    "input {{ dims: 1 }}": "Write { once: this is a template of a configuration, ",
}


@pytest.mark.parametrize("text", ADVICE)
def test_the_parsers_reason_comes_with_advice(tmp_path: Path, text: str) -> None:
    (finding,) = found(tmp_path, text)
    assert finding.problem.write.startswith(ADVICE[text])


def test_a_byte_order_mark_is_removed(tmp_path: Path) -> None:
    (finding,) = found(tmp_path, "\ufeffname: 'net'")
    (edit,) = finding.problem.edits
    assert (edit.begins, edit.ends, edit.text) == ((1, 1), (1, 2), "")


QUOTED = """parameters { key: "metadata" value { string_value: "{'author': "Ann's", 'names': {0: 'cat'}}" } }\n"""


def test_a_quote_in_quotes_is_explained_and_mended(tmp_path: Path) -> None:
    (finding,) = found(tmp_path, f"{ONNX}{QUOTED}")
    assert 'has no field named "Ann"' in finding.problem.says
    assert str(finding.problem.place).endswith(f":2:{QUOTED.index('Ann')}")
    (edit,) = finding.problem.edits
    mended = QUOTED[: edit.begins[1] - 1] + edit.text + QUOTED[edit.ends[1] - 1 :]
    assert told(found(tmp_path / "mended", ONNX + mended)) == []


def test_a_model_without_a_configuration_needs_a_backend(tmp_path: Path) -> None:
    assert told(found(tmp_path, None)) == ["ROOT 0:0"]


def test_strange_names_are_no_trouble(tmp_path: Path) -> None:
    text = 'backend: "\udcff" name: "\\000\\377" instance_group { profile: "\\n" } input { name: "\\"" }'
    assert found(tmp_path, text)


def test_the_backend_that_was_meant_is_named(tmp_path: Path) -> None:
    (finding,) = [each for each in found(tmp_path, 'backend: "onnxruntim"') if each.code == "BACKEND"]
    assert finding.problem.write == 'Write backend: "onnxruntime"'


@pytest.mark.parametrize(
    ("files", "advice"),
    [
        (["model.onnx", "labels.txt"], "Move model.onnx into a new folder"),
        (["v2/model.onnx"], "Rename the folder v2 to 2"),
        (["onnx/model.onnx", "tokenizer.json"], "Rename the folder onnx to 1"),
        (["assets/readme.txt"], "Add the folder 1 with the model's file"),
        (["a/model.onnx", "b/model.onnx"], "Add the folder 1 with the model's file"),
    ],
)
def test_what_could_be_the_first_version_is_named(tmp_path: Path, files: list[str], advice: str) -> None:
    folder = tmp_path / "net"
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    (folder / "config.pbtxt").write_text(ONNX)
    (finding,) = [each for each in check(folder) if each.code == "VDIR-NONE"]
    assert finding.problem.write.startswith(advice)


@pytest.mark.parametrize("name", ["Config.pbtxt", "config.pbtxt.txt", "config.prototxt"])
def test_a_configuration_of_nearly_the_right_name_is_found(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "net"
    (folder / "1").mkdir(parents=True)
    (folder / name).write_text(ONNX)
    found = {each.code: each.problem.write for each in check(tmp_path)}
    assert found["ROOT"] == f"Rename {name} to config.pbtxt"
    assert found["CONFIG-PLACE"] == "Rename it to config.pbtxt"
    (folder / "config.pbtxt").write_text(ONNX)
    assert "CONFIG-PLACE" not in {each.code for each in check(tmp_path)}


def test_a_repository_in_a_repository_is_named(tmp_path: Path) -> None:
    (tmp_path / "models/net/1").mkdir(parents=True)
    (tmp_path / "models/net/config.pbtxt").write_text(ONNX)
    empty, finding = check(tmp_path)
    assert (empty.code, finding.code) == ("EMPTY", "ROOT")
    assert empty.problem.says == "Triton fails at its start: the only folder is not a model"
    assert finding.problem.write.startswith(f"Check, and serve, the folder {tmp_path / 'models'} itself: ")


@pytest.mark.parametrize("part", ["1", "1/model.onnx", "labels.txt"])
def test_the_model_of_a_part_is_named(tmp_path: Path, part: str) -> None:
    folder = tmp_path / "net"
    (folder / "1").mkdir(parents=True)
    for name in ("config.pbtxt", "1/model.onnx", "labels.txt"):
        (folder / name).write_text("")
    with pytest.raises(RepositoryError, match="can't check") as raised:
        check(folder / part)
    assert raised.value.hint == f"Check its model: modelrepo check {folder}"


def test_a_configuration_in_the_root_makes_no_model_of_a_repository(tmp_path: Path) -> None:
    (tmp_path / "net/1").mkdir(parents=True)
    (tmp_path / "net/1/model.onnx").write_bytes(b"")
    for folder in (tmp_path, tmp_path / "net"):
        (folder / "config.pbtxt").write_text(f'name: "net"\n{ONNX}')
    found = check(tmp_path)
    assert [each.severity for each in found if each.code == "CONFIG-PLACE"] == ["warning"]
    assert not {"NAME", "VDIR-NONE"} & {each.code for each in found}
    assert "NAME" in {each.code for each in check(tmp_path / "config.pbtxt")}
