"""A model that is about to be published is judged in the folder that it will have, which is left alone."""

from pathlib import Path

import pytest

from modelrepo.generator.errors import OptionError, RepositoryError
from modelrepo.generator.lint import Host
from modelrepo.generator.lint.candidate import Candidate, judged, refuse_refused, warnings_of
from modelrepo.generator.triton.releases import release_named
from tests.conftest import Generate
from tests.generator.lint.models import onnx_bytes

HOST = Host(release_named("26.09"))
CONFIG = """
name: "net"
backend: "onnxruntime"
max_batch_size: 4
input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 5 ] label_filename: "labels.txt" }
"""


@pytest.fixture
def entries(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "made" / "2").mkdir(parents=True)
    (tmp_path / "made" / "2" / "model.onnx").write_bytes(onnx_bytes())
    (tmp_path / "made" / "labels.txt").write_text("a\nb\n")
    return {name: tmp_path / "made" / name for name in ("2", "labels.txt")}


def codes(config: str, entries: dict[str, Path], folder: Path, *, unbuilt: bool = False) -> set[str]:
    found = judged(Candidate("net", config, entries, unbuilt), HOST, folder)
    return {each.code for each in found if each.severity != "information"}


def test_a_right_model_passes_and_nothing_is_left(entries: dict[str, Path], tmp_path: Path) -> None:
    before = [(path, path.stat().st_ctime_ns) for path in tmp_path.rglob("*") if path.is_file()]
    assert codes(CONFIG, entries, tmp_path) == set()
    assert [(path, path.stat().st_ctime_ns) for path in tmp_path.rglob("*") if path.is_file()] == before
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("dynamic_batching { preferred_batch_size: 50 }", "DYN-PREF"),
        (
            'model_warmup { name: "w" batch_size: 99 inputs { key: "x" value { data_type: TYPE_FP32 dims: 4 } } }',
            "WARM",
        ),
        ("version_policy { specific { versions: [ 9 ] } }", "VP"),
        ("sequence_batching { } response_cache { enable: true }", "CACHE"),
        ('sequence_batching { control_input { name: "s" control { kind: CONTROL_SEQUENCE_START } } }', "SEQ-VALUES"),
        ("sequence_batching { oldest { preferred_batch_size: 99 } }", "SEQ-OLDEST"),
        ("instance_group { kind: KIND_CPU gpus: [ 0 ] }", "IG-CPU"),
        ("input { name: 'z' data_type: TYPE_FP32 dims: [ 4 ] }", "ORT-CNT"),
    ],
)
def test_what_triton_refuses_is_found(more: str, code: str, entries: dict[str, Path], tmp_path: Path) -> None:
    assert code in codes(CONFIG + more, entries, tmp_path)


def test_a_policy_may_name_an_older_version_that_stays(entries: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "model.onnx").write_bytes(onnx_bytes())
    config = CONFIG + "version_policy { specific { versions: [ 1 ] } }"
    assert codes(config, {**entries, "1": tmp_path / "old"}, tmp_path) == set()


def test_a_plan_that_is_still_to_be_built_lacks_its_file(entries: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    config = CONFIG.replace("onnxruntime", "tensorrt")
    planned = {**entries, "2": tmp_path / "empty"}
    assert codes(config, planned, tmp_path, unbuilt=True) == set()
    assert codes(config, planned, tmp_path) == {"VDIR-EMPTY"}
    wrong = config + "dynamic_batching { preferred_batch_size: 50 }"
    assert codes(wrong, planned, tmp_path, unbuilt=True) == {"DYN-PREF"}


def test_the_message_names_no_folder_of_ours(entries: dict[str, Path], tmp_path: Path) -> None:
    del entries["labels.txt"]
    found = judged(Candidate("net", CONFIG, entries), HOST, tmp_path)
    with pytest.raises(RepositoryError, match=r"^LABEL: .* for read net/labels\.txt") as raised:
        refuse_refused(found)
    assert str(tmp_path) not in str(raised.value)
    assert raised.value.hint.endswith("`modelrepo check --explain LABEL` says more")
    with pytest.raises(OptionError):
        refuse_refused(found, OptionError)


def test_warnings_are_told(entries: dict[str, Path], tmp_path: Path) -> None:
    config = CONFIG.replace("max_batch_size: 4", "max_batch_size: 4 version_policy { specific { versions: [ 2, 9 ] } }")
    found = judged(Candidate("net", config, entries), HOST, tmp_path)
    refuse_refused(found)
    assert [each.partition(":")[0] for each in warnings_of(found)] == ["VP-MISS"]


@pytest.mark.parametrize("backend", ["onnx", "tensorrt"])
def test_a_patch_that_triton_refuses_is_refused_before_anything_is_published(
    backend: str, generate: Generate, numpy_models: None, workdir: Path
) -> None:
    Path("patch.pbtxt").write_text("instance_group { kind: KIND_CPU gpus: [ 0 ] }")
    outcome = generate("--model", "numpy:linear", "--backends", backend, "--config-patch", "patch.pbtxt", "-q")
    assert outcome.code == 2
    assert "IG-CPU: Triton refuses the model" in outcome.err
    assert not list(workdir.rglob("config.pbtxt"))
