"""config.pbtxt: reads like a hand-written one, says everything, and always parses."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc.model_config_pb2 import ModelConfig

from modelrepo.generator.backends import BACKENDS
from modelrepo.generator.configuration.decisions import Decisions, Origin, decide
from modelrepo.generator.configuration.writer import ConfigWriter
from modelrepo.generator.errors import OptionError
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.resolve import resolve
from modelrepo.generator.specs.artifacts import Serving
from modelrepo.generator.specs.options import Choice, Instances, Options, VersionPolicy
from modelrepo.generator.specs.tensors import Signature, TensorSpec
from modelrepo.generator.system import templates
from modelrepo.generator.triton import pbtxt
from modelrepo.generator.triton.releases import RELEASES
from tests.conftest import Generate

SIGNATURE = Signature(
    (TensorSpec("image", "float32", ("batch", 3, 224, 224)), TensorSpec("ids", "int64", ("batch", "sequence"))),
    (TensorSpec("scores", "float16", ("batch", 3)), TensorSpec("text", "object", ("batch", 1))),
)


def options(**changes: Any) -> Options:
    return replace(resolve({}, ConfigFile(), "resnet50")[1], **changes)


def decisions(backend: str = "onnx", max_batch_size: int = 16, **changes: Any) -> Decisions:
    choice = Choice(*backend.split(":"))
    serving = Serving("m", options(**changes), SIGNATURE, choice.precision, max_batch_size)
    ones = {spec.name: tuple(1 if isinstance(dim, str) else dim for dim in spec.shape) for spec in SIGNATURE.inputs}
    return decide(serving, BACKENDS[choice.backend], Origin({"source": "test"}, ("a", "b", "c"), ones))


VARIANTS: dict[str, Decisions] = {
    "default": decisions(),
    "no-batching": decisions(max_batch_size=0),
    "tensorrt": decisions("tensorrt", profiles=({"sequence": (16, 128, 512)},), cuda_graphs=True),
    "tensorrt-profiles": decisions("tensorrt", profiles=({"sequence": (1, 64, 64)}, {"sequence": (64, 128, 512)})),
    "tensorrt-ep": decisions("onnx+tensorrt-ep:fp16", profiles=({"sequence": (16, 128, 512)},)),
    "tensorrt-ep-of-10": decisions(
        "onnx+tensorrt-ep:int8", profiles=({"sequence": (16, 128, 512)},), target_release="26.02"
    ),
    "everything-set": decisions(
        preferred_batch_sizes=(4, 8),
        queue_delay_us=100,
        instances=Instances("KIND_GPU", 2),
        version_policy=VersionPolicy("latest", num_versions=2),
    ),
    "all-versions": decisions(version_policy=VersionPolicy("all")),
    "named-versions": decisions(version_policy=VersionPolicy("specific", (1, 3))),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_configuration_is_as_agreed(golden: Callable[[str, str], None], variant: str) -> None:
    golden(f"config/{variant}.pbtxt", ConfigWriter().render(VARIANTS[variant], version=3, existing={1, 2}))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_configuration_says_in_protobuf_what_was_planned(variant: str) -> None:
    wanted = VARIANTS[variant]
    config = text_format.Parse(ConfigWriter().render(wanted, version=3, existing={1, 2}), ModelConfig())
    assert (config.name, config.backend) == (wanted.name, wanted.backend)
    assert config.max_batch_size == wanted.max_batch_size
    assert config.HasField("dynamic_batching") == bool(wanted.max_batch_size)
    assert [tuple(tensor.dims) for tensor in config.input] == [tensor.dims for tensor in wanted.inputs]
    assert [tensor.label_filename for tensor in config.output] == ["labels.txt", ""]
    assert config.model_warmup[0].batch_size == 1
    assert all(dim > 0 for warmup in config.model_warmup[0].inputs.values() for dim in warmup.dims)


# Triton's onnxruntime backend refuses a model whose accelerator has another (src/onnxruntime.cc of 26.06).
ACCELERATOR_KEYS = {
    *("precision_mode", "max_workspace_size_bytes", "int8_calibration_table_name", "int8_use_native_calibration_table"),
    *("trt_max_partition_iterations", "trt_min_subgraph_size", "trt_dla_enable", "trt_dla_core"),
    *("trt_engine_cache_enable", "trt_engine_cache_path", "trt_engine_cache_prefix", "trt_dump_subgraphs"),
    *("trt_force_sequential_engine_build", "trt_context_memory_sharing_enable", "trt_layer_norm_fp32_fallback"),
    *("trt_timing_cache_enable", "trt_timing_cache_path", "trt_force_timing_cache", "trt_detailed_build_log"),
    *("trt_build_heuristics_enable", "trt_sparsity_enable", "trt_builder_optimization_level", "trt_auxiliary_streams"),
    *("trt_tactic_sources", "trt_extra_plugin_lib_paths"),
    *("trt_profile_min_shapes", "trt_profile_max_shapes", "trt_profile_opt_shapes"),
}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_accelerator_has_no_key_that_triton_does_not_know(release: str, precision: str) -> None:
    planned = decisions(
        f"onnx+tensorrt-ep:{precision}", profiles=({"sequence": (16, 128, 512)},), target_release=release
    )
    assert planned.accelerator is not None
    assert set(planned.accelerator) <= ACCELERATOR_KEYS
    lowered_by_flag = (RELEASES[release].tensorrt or "").startswith("10.") and precision != "fp32"
    assert ("precision_mode" in planned.accelerator) == lowered_by_flag


def test_bf16_by_the_accelerator_needs_a_release_that_knows_it() -> None:
    with pytest.raises(OptionError, match="has no BF16 in ONNX Runtime's TensorRT accelerator"):
        decisions("onnx+tensorrt-ep:bf16", profiles=({"sequence": (16, 128, 512)},), target_release="25.12")


@given(st.text(st.characters(codec="utf-8")))
def test_every_string_survives_the_quoting(value: str) -> None:
    parsed = text_format.Parse(f"name: {pbtxt.quote(value)}", ModelConfig())
    assert parsed.name == value


PATCHES: dict[str, tuple[str, Callable[[ModelConfig], object], object]] = {
    "a number": ("max_batch_size: 8", lambda c: c.max_batch_size, 8),
    "inside a message": ("optimization { cuda { graphs: true } }", lambda c: c.optimization.cuda.graphs, True),
    "its neighbour stays": ("optimization { cuda { graphs: true } }", lambda c: c.optimization.HasField("graph"), True),
    "a list takes the old one's place": (
        "instance_group { count: 3 }",
        lambda c: [g.count for g in c.instance_group],
        [3],
    ),
    "a nested list does too": (
        "dynamic_batching { preferred_batch_size: 2 }",
        lambda c: list(c.dynamic_batching.preferred_batch_size),
        [2],
    ),
    "a map is merged by key": (
        'parameters { key: "mine" value { string_value: "1" } }',
        lambda c: sorted(c.parameters),
        ["intra_op_thread_count", "mine", "source"],
    ),
    "an input is merged by name": (
        'input { name: "ids" allow_ragged_batch: true }',
        lambda c: [(i.name, i.allow_ragged_batch, len(i.dims)) for i in c.input],
        [("image", False, 3), ("ids", True, 1)],
    ),
    "a scheduler replaces the other": (
        "sequence_batching { max_sequence_idle_microseconds: 5 }",
        lambda c: c.WhichOneof("scheduling_choice"),
        "sequence_batching",
    ),
    "a field the template does not know": (
        "model_transaction_policy { decoupled: true }",
        lambda c: c.model_transaction_policy.decoupled,
        True,
    ),
}


@pytest.mark.parametrize("case", PATCHES)
def test_a_patch_reaches_every_field(tmp_path: Path, case: str) -> None:
    text, read, wanted = PATCHES[case]
    (tmp_path / "patch.pbtxt").write_text(text)
    written = ConfigWriter(patch=tmp_path / "patch.pbtxt").render(decisions(preferred_batch_sizes=(4, 8)), version=1)
    assert read(text_format.Parse(written, ModelConfig())) == wanted


REFUSED = {
    "max_batch_size: 64": "says max_batch_size: 64, but the model was made for 16",
    "max_batch_size: -5": "says max_batch_size: -5",
    'input { name: "imgae" optional: true }': "lists the inputs image, ids, imgae, but the model has image, ids",
    "input { optional: true }": "lists the inputs",
    'input { name: "image" dims: [ 3, 0 ] }': "says TYPE_FP32[3, 0] of image, but the model has TYPE_FP32[3, 224, 224]",
    'output { name: "scores" data_type: TYPE_INT8 }': "says TYPE_INT8[3] of scores",
    "version_policy { specific { versions: [9] } }": "lists version 9, which does not exist",
    'output { name: "scores" label_filename: "/etc/passwd" }': "names the label file '/etc/passwd'",
    'platform: "tensorrt_plan"': "says platform: 'tensorrt_plan'",
    'backend: "python"': "says backend: 'python'",
    'default_model_filename: "nope.onnx"': "names a different model file",
}


@pytest.mark.parametrize("patch", REFUSED)
def test_a_patch_that_contradicts_what_is_published_is_refused(tmp_path: Path, patch: str) -> None:
    (tmp_path / "patch.pbtxt").write_text(patch)
    with pytest.raises(OptionError) as raised:
        ConfigWriter(patch=tmp_path / "patch.pbtxt").render(decisions(), version=1)
    assert REFUSED[patch] in raised.value.message


def test_a_reshape_may_change_the_dims_that_clients_see(tmp_path: Path) -> None:
    (tmp_path / "patch.pbtxt").write_text('input { name: "image" dims: 150528 reshape { shape: [ 3, 224, 224 ] } }')
    text = ConfigWriter(patch=tmp_path / "patch.pbtxt").render(decisions(), version=1)
    assert list(text_format.Parse(text, ModelConfig()).input[0].dims) == [150528]


def test_an_empty_patch_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "patch.pbtxt").write_text("# nothing\n")
    assert ConfigWriter(patch=tmp_path / "patch.pbtxt").render(decisions(), 1) == ConfigWriter().render(decisions(), 1)


def test_a_lower_batch_size_in_a_patch_is_the_one_that_is_reported(generate: Generate, numpy_models: None) -> None:
    Path("patch.pbtxt").write_text("max_batch_size: 4")
    outcome = generate("--model", "numpy:linear", "--config-patch", "patch.pbtxt", "--json", "-q")
    assert outcome.result["max_batch_size"] == 4


@pytest.mark.parametrize(
    "text", ["{{ 1 / 0 }}", "{{ name + 1 }}", "{% include 'config.pbtxt.j2' %}", "{{ inputs[0].nope }}"]
)
def test_a_template_that_fails_while_it_runs_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / templates.CONFIG_TEMPLATE).write_text(text)
    with pytest.raises(OptionError, match=r"config\.pbtxt\.j2"):
        ConfigWriter(tmp_path).render(decisions(), 1)


def test_a_patched_configuration_keeps_its_order_and_its_zeros(
    tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    (tmp_path / "patch.pbtxt").write_text('max_batch_size: 0 response_cache { enable: true } input { name: "ids" }')
    golden("config/patched.pbtxt", ConfigWriter(patch=tmp_path / "patch.pbtxt").render(decisions(max_batch_size=0), 1))


def test_a_template_of_the_users_takes_the_place_of_ours(tmp_path: Path) -> None:
    shipped = (templates.TEMPLATES / templates.CONFIG_TEMPLATE).read_text()
    (tmp_path / templates.CONFIG_TEMPLATE).write_text("# ours\n" + shipped)
    assert ConfigWriter(tmp_path).render(decisions(), 1).startswith("# ours\n")


def test_another_template_is_another_version(generate: Generate, numpy_models: None, workdir: Path) -> None:
    shipped = (templates.TEMPLATES / templates.CONFIG_TEMPLATE).read_text()
    (workdir / "t").mkdir()
    (workdir / "t" / templates.CONFIG_TEMPLATE).write_text(shipped)
    arguments = ("--model", "numpy:linear", "--templates", "t", "--json", "-q")
    assert generate(*arguments).result["version"] == 1
    (workdir / "t" / templates.CONFIG_TEMPLATE).write_text(shipped + "# more\n")
    assert generate(*arguments).result["version"] == 2
