"""Rules about batching, sequences, ensembles, warm-up and labels; the real server judges the same cases."""

import os
import struct
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from onnx import helper

from modelrepo.generator.lint.check import check
from modelrepo.generator.lint.data import ELF, broken_library
from modelrepo.generator.lint.declared import COMPLETES
from modelrepo.generator.lint.finding import Finding
from modelrepo.generator.lint.rules.batching import STRATEGY_FUNCTIONS
from modelrepo.generator.lint.rules.identity import ENTRY
from modelrepo.generator.lint.subject import Host
from modelrepo.generator.triton.releases import release_named
from tests.differential.case import Case
from tests.differential.corpus.scheduling import (
    ALONE,
    ANY,
    CASES,
    FILES,
    GIVEN,
    NET,
    ZERO,
    A,
    B,
    X,
    Y,
    joined,
    step,
    warmed,
)
from tests.differential.scheduling import ensemble, scheduled
from tests.differential.verdicts import LIGHT
from tests.generator.lint.models import FLOAT, onnx_bytes

OLD, NEW = "24.10", "26.09"


def found(root: Path, case: Case, release: str = OLD) -> list[Finding]:
    """Return what is found in a case, of all its models."""
    for name, model in {case.name: case, **case.others}.items():
        for version in model.versions:
            (root / name / version).mkdir(parents=True)
        (root / name).mkdir(exist_ok=True)
        (root / name / "config.pbtxt").write_text(model.config or "")
        (root / name / f"libtriton_{LIGHT}.so").write_bytes(ELF + ENTRY)
        for path, content in model.files.items():
            (root / name / path).parent.mkdir(parents=True, exist_ok=True)
            (root / name / path).write_bytes(content.encode() if isinstance(content, str) else content)
    return check(root, [Host(release_named(release), gpus=0)])


def codes(findings: Iterable[Finding], model: str, severity: str = "error") -> set[str]:
    return {each.code for each in findings if each.model == model and each.severity == severity}


def errors(findings: Iterable[Finding]) -> list[Finding]:
    return [each for each in findings if each.severity == "error"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_triton_refuses_is_an_error(case: Case, tmp_path: Path) -> None:
    assert set(case.errors) == codes(found(tmp_path, case), case.name)


@pytest.mark.parametrize(
    ("config", "severity", "code"),
    [
        (ALONE + "dynamic_batching { }", "warning", "DYN-MBS0"),
        (NET + "dynamic_batching { }", "information", "DYN-DEF"),
        (NET + "dynamic_batching { default_priority_level: 1 }", "warning", "PRIO-OFF"),
        (NET + "sequence_batching { state { input_name: 'i' use_growable_memory: true } }", "warning", "SEQ-GROW"),
        (
            NET + "sequence_batching { state [ { input_name: 'i' output_name: 'a' }, "
            "{ input_name: 'i' output_name: 'b' } ] }",
            "warning",
            "SEQ-STATE",
        ),
        (warmed(ZERO, more=""), "warning", "WARM0"),
    ],
)  # fmt: skip
def test_what_triton_does_otherwise_is_no_error(config: str, severity: str, code: str, tmp_path: Path) -> None:
    findings = found(tmp_path, Case("net", config, FILES))
    assert code in codes(findings, "net", severity)
    assert not codes(findings, "net")


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (NET.replace('name: "y"', 'name: "y" label_filename: "../net.txt"'), "LABEL-OUT"),
        (
            warmed("data_type: TYPE_FP32 dims: [ -2, -3 ] zero_data: true", ANY.replace("[ -1 ]", "[ -1, -1 ]")),
            "WARM-SIZE",
        ),
        (
            warmed(ZERO) + ' sequence_batching { control_input { name: "c" control { kind: CONTROL_SEQUENCE_CORRID '
            "data_type: TYPE_STRING } } }",
            "WARM-CORRID",
        ),
    ],
)  # fmt: skip
def test_what_newer_releases_refuse_is_an_error_for_them(config: str, code: str, tmp_path: Path) -> None:
    (tmp_path / "net.txt").write_text("cat")
    case = Case("net", config, FILES)
    assert not codes(found(tmp_path, case), "net")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "net.txt").write_text("cat")
    assert codes(found(tmp_path / "new", case, NEW), "net") == {code}


@pytest.mark.parametrize(("release", "found_codes"), [("26.02", set()), ("26.06", {"LABEL-OUT"})])
def test_a_folder_whose_name_begins_like_the_models_is_outside_since_26_06(
    release: str, found_codes: set[str], tmp_path: Path
) -> None:
    case = Case("net", NET.replace('name: "y"', 'name: "y" label_filename: "../net2/labels.txt"'))
    (tmp_path / "net2").mkdir()
    (tmp_path / "net2" / "labels.txt").write_text("cat")
    assert codes(found(tmp_path, case, release), "net") == found_codes


def test_a_link_out_of_the_folder_is_outside(tmp_path: Path) -> None:
    case = Case("net", NET.replace('name: "y"', 'name: "y" label_filename: "link.txt"'))
    (tmp_path / "labels").write_text("cat")
    (tmp_path / "models" / "net").mkdir(parents=True)
    (tmp_path / "models" / "net" / "link.txt").symlink_to(tmp_path / "labels")
    assert codes(found(tmp_path / "models", case, NEW), "net") == {"LABEL-OUT"}


@pytest.mark.parametrize("backend", ["python", "onnxruntime"])
def test_a_warm_up_batch_is_limited_by_the_backends_that_we_know(backend: str, tmp_path: Path) -> None:
    config = warmed(ZERO, f'backend: "{backend}" {X}{Y}', more="batch_size: 2")
    assert "WARM-BS" in codes(found(tmp_path, Case("net", config)), "net")


@pytest.mark.parametrize("version", ["", "model_version: 0 "])
def test_a_step_is_mended_to_ask_for_the_newest_version(version: str, tmp_path: Path) -> None:
    asked = step("net", {"x": "A"}, {"y": "B"}, "").replace("input_map", f"{version}input_map")
    case = Case("both", joined(asked), others={"net": Case("net", NET)})
    (finding,) = errors(found(tmp_path, case))
    assert finding.code == "ENS-VER"
    (edit,) = finding.problem.edits
    text = case.config or ""
    begins, ends = edit.begins[1] - 1, edit.ends[1] - 1
    mended = replace(case, config=text[:begins] + edit.text + text[ends:])
    (tmp_path / "mended").mkdir()
    assert errors(found(tmp_path / "mended", mended)) == []


def test_a_model_whose_backend_fills_in_its_tensors_is_not_judged_by_them(tmp_path: Path) -> None:
    asked = step("net", {"in": "A"}, {"out": "B"})
    node = helper.make_node("Relu", ["in"], ["out"])
    file = onnx_bytes([("in", FLOAT, ["N", 4])], [("out", FLOAT, ["N", 4])], [node], initializers=[])
    member = Case("net", 'backend: "onnxruntime" max_batch_size: 4', {"1/model.onnx": file})
    case = Case("both", joined(asked), others={"net": member})
    assert codes(found(tmp_path, case), "both") == set()


def test_an_ensemble_is_refused_with_a_model_that_its_backend_refuses(tmp_path: Path) -> None:
    asked = step("net", {"in": "A"}, {"out": "B"})
    member = Case("net", 'backend: "onnxruntime" max_batch_size: 4')
    assert codes(found(tmp_path, Case("both", joined(asked), others={"net": member})), "both") == {"ENS-MODEL"}


def test_a_python_model_that_fills_in_nothing_is_judged_by_its_configuration(tmp_path: Path) -> None:
    asked = step("net", {"in": "A"}, {"out": "B"})
    member = Case("net", f'backend: "python" max_batch_size: 4 {X}{Y}', {"1/model.py": "class TritonPythonModel: ..."})
    case = Case("both", joined(asked), others={"net": member})
    assert codes(found(tmp_path, case), "both") == {"ENS-MAP"}
    code = "class TritonPythonModel:\n    def auto_complete_config(config): ..."
    filled = replace(member, files={"1/model.py": code})
    (tmp_path / "filled").mkdir()
    assert codes(found(tmp_path / "filled", replace(case, others={"net": filled})), "both") == set()


def test_a_finding_is_at_its_map(tmp_path: Path) -> None:
    config = joined(step("net", {"x": "A"}, {"z": "B"})).replace("output_map", "\noutput_map")
    (finding,) = errors(found(tmp_path, Case("both", config, others={"net": Case("net", NET)})))
    assert (finding.problem.place.line, finding.problem.place.column) == (2, 1)
    assert "mapped from non-existing output z in model net" in finding.problem.says


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ('platform: "ensemble"', "ensemble scheduling must be set for ensemble both whose platform is ensemble"),
        ('platform: "ensemble" backend: "onnxruntime"', "must have platform type 'ensemble' and empty backend type"),
        ("ensemble_scheduling { }", "Could not determine backend for model 'both'"),
        ('backend: "light" ensemble_scheduling { }', "cannot be set for model 'both' whose platform is not ensemble"),
    ],
)
def test_half_an_ensemble_is_refused_in_tritons_words(config: str, words: str, tmp_path: Path) -> None:
    refused = [each for each in errors(found(tmp_path, Case("both", f"{config} {X}{Y}"))) if each.code == "ENS"]
    assert [words in each.problem.says for each in refused] == [True]


@pytest.mark.parametrize(
    ("map_", "write"),
    [
        ('input_map { key: "x" value: "gone" }', "Write an input of the ensemble, or an output_map of a step, "),
        ('output_map { key: "z" value: "gone" }', "Write an output of the ensemble, or an input_map, "),
    ],
)
def test_a_tensor_that_is_only_read_needs_a_source(map_: str, write: str, tmp_path: Path) -> None:
    step = 'input_map { key: "x" value: "x" } output_map { key: "y" value: "y" }'
    config = f'platform: "ensemble" {X}{Y} ensemble_scheduling {{ step {{ model_name: "m" {step} {map_} }} }}'
    refused = [each for each in errors(found(tmp_path, Case("both", config))) if "is unused" in each.problem.says]
    assert [each.problem.write.startswith(write) for each in refused] == [True]


@pytest.mark.parametrize("kind", ["data_file", "warmup", "label"])
def test_what_is_no_file_is_found_without_reading_it(kind: str, tmp_path: Path) -> None:
    config = {
        "data_file": NET + "sequence_batching { state { data_type: TYPE_FP32 dims: 3 initial_state { name: 'n' "
        "data_type: TYPE_FP32 dims: 3 data_file: '../pipe' } } }",
        "warmup": warmed(GIVEN + 'input_data_file: "../pipe"'),
        "label": NET.replace('name: "y"', 'name: "y" label_filename: "pipe"'),
    }[kind]
    folder = tmp_path / "net"
    for name in ("warmup", "initial_state"):
        (folder / name).mkdir(parents=True)
    os.mkfifo(folder / "pipe")
    assert codes(found(tmp_path, Case("net", config)), "net")


def test_random_models_never_break_a_rule(tmp_path: Path) -> None:
    for seed in range(15):
        for make in (scheduled, ensemble):
            case = make(Random(seed), f"m{seed}")
            # A rule that raises is a finding, so that the others still judge.
            assert "UNJUDGED" not in {each.code for each in found(tmp_path / f"{make.__name__}{seed}", case)}


def test_many_ensembles_of_a_model_judge_it_once(tmp_path: Path) -> None:
    names = [f"e{number}" for number in range(30)]
    ensembles = {name: Case(name, joined(step("net", {"x": "A"}, {"y": "B"}), tensors=A + B)) for name in names}
    assert errors(found(tmp_path, Case("net", NET, others=ensembles))) == []


def test_a_long_chain_of_ensembles_is_followed(tmp_path: Path) -> None:
    chain = {
        f"e{number}": Case(f"e{number}", joined(step(f"e{number + 1}", {"A": "A"}, {"B": "B"})))
        for number in range(200)
    }
    last = Case("e200", joined(step("net", {"x": "A"}, {"y": "B"})))
    net = {"net": Case("net", warmed(GIVEN))}
    refused = found(tmp_path, replace(last, others=chain | net))
    assert codes(refused, "e0") == {"ENS-MODEL"}


def test_ensembles_with_twice_the_same_ensemble_are_judged_in_no_time(tmp_path: Path) -> None:
    twice = [
        Case(
            f"e{number}",
            joined(step(f"e{number + 1}", {"A": "A"}, {"B": "t"}), step(f"e{number + 1}", {"A": "t"}, {"B": "B"})),
        )
        for number in range(40)
    ]
    last = Case("e40", joined(step("net", {"x": "A"}, {"y": "B"})))
    others = {each.name: each for each in (*twice, Case("net", NET))}
    assert errors(found(tmp_path, replace(last, others=others))) == []


def test_a_model_without_a_configuration_serves_its_newest_version(tmp_path: Path) -> None:
    case = Case("both", joined(step(f"net.{LIGHT}", {"x": "A"}, {"y": "B"}, "1")))
    for name in ("1", "2"):
        (tmp_path / f"net.{LIGHT}" / name).mkdir(parents=True)
    (tmp_path / f"net.{LIGHT}" / f"libtriton_{LIGHT}.so").write_bytes(ELF + ENTRY + COMPLETES)
    assert codes(found(tmp_path, case), "both") == {"ENS-VER"}


def header(segments: int) -> bytes:
    """Return the header of a shared library of 64 bits, behind which rows of that many segments follow."""
    return ELF + bytes(28) + struct.pack("<Q", 64) + bytes(14) + struct.pack("<HH", 56, segments) + bytes(6)


LIBRARY = header(0)


@pytest.mark.parametrize(
    ("content", "errors"),
    [
        (b"text", {"DYN-LIB"}),
        (b"", {"DYN-LIB"}),
        (LIBRARY, set()),
        (LIBRARY[:60], {"DYN-LIB"}),
        (LIBRARY + b" ".join(STRATEGY_FUNCTIONS), set()),
        (LIBRARY + b" ".join(STRATEGY_FUNCTIONS[1:]), {"DYN-LIB"}),
    ],
)
@pytest.mark.parametrize("where", ["batchstrategy.so", "1/batchstrategy.so"])
def test_a_library_has_all_functions_of_a_strategy_or_none(
    where: str, content: bytes, errors: set[str], tmp_path: Path
) -> None:
    assert codes(found(tmp_path, Case("net", NET, {where: content})), "net") == errors


def test_a_library_may_be_mounted_elsewhere(tmp_path: Path) -> None:
    path = 'parameters { key: "TRITON_BATCH_STRATEGY_PATH" value { string_value: "/models/net/own/lib.so" } }'
    case = Case("net", NET + path, {"own/lib.so": LIBRARY})
    assert codes(found(tmp_path, case), "net") == set()


# The smallest library that can be loaded.
WHOLE = header(1) + struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 200, 200, 4096) + bytes(80)


def test_a_library_that_is_cut_off_is_called_what_dlopen_calls_it(tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    for content, said in (
        (WHOLE, ""),
        (WHOLE[:199], "SIGBUS"),
        (WHOLE[:100], "cannot read file data"),
        (WHOLE[:63], "file too short"),
        (b"text" * 20, "invalid ELF header"),
    ):
        path.write_bytes(content)
        assert broken_library(path) == said
    assert broken_library(tmp_path) == "cannot read file data: Is a directory"
    assert broken_library(tmp_path / "gone.so").startswith("cannot open shared object file")


@pytest.mark.parametrize(("release", "found_codes"), [("26.05", set()), ("26.06", {"DYN-LIB"})])
def test_a_library_lies_in_the_models_folder_since_26_06(release: str, found_codes: set[str], tmp_path: Path) -> None:
    library = tmp_path / "lib.so"
    library.write_bytes(WHOLE)
    path = f'parameters {{ key: "TRITON_BATCH_STRATEGY_PATH" value {{ string_value: "{library}" }} }}'
    assert codes(found(tmp_path / "models", Case("net", NET + path), release), "net") == found_codes


@pytest.mark.parametrize(
    ("kind", "data", "old", "new"),
    [
        ("data_type: TYPE_FP32 dims: 4", "zero_data: true", set(), set()),
        ("dims: 4", "zero_data: true", set(), {"SEQ-INIT"}),
        ("dims: 4", "data_file: 'x'", {"SEQ-INIT"}, {"SEQ-INIT"}),
        ("dims: 3", "data_file: 'x'", set(), {"SEQ-INIT"}),
        ("data_type: TYPE_FP32 dims: [ -2, -2 ]", "zero_data: true", set(), {"SEQ-INIT"}),
        ("data_type: TYPE_STRING dims: 2305843009213693952", "data_file: 'x'", set(), {"SEQ-INIT"}),
    ],
)
def test_the_bytes_of_an_initial_state_are_counted_since_26_03(
    kind: str, data: str, old: set[str], new: set[str], tmp_path: Path
) -> None:
    state = f"input_name: 'i' output_name: 'o' {kind} initial_state {{ name: 'f' {kind} {data} }}"
    case = Case("net", f"{NET} sequence_batching {{ state {{ {state} }} }}", FILES)
    assert codes(found(tmp_path / "old", case, "26.02"), "net") == old
    assert codes(found(tmp_path / "new", case, "26.03"), "net") == new


@pytest.mark.parametrize(
    ("config", "severity", "code"),
    [
        (warmed(ZERO, more="batch_size: 1 count: 4294967295"), "warning", "WARM-LONG"),
        (warmed(ZERO, more="batch_size: 4294967295"), "error", "WARM-MANY"),
        (ALONE + "max_batch_size: 2147483647 sequence_batching { }", "error", "SEQ-SLOTS"),
        (NET + "instance_group { count: 4194305 }", "error", "IG-MANY"),
    ],
)  # fmt: skip
def test_numbers_that_no_host_can_serve_are_found(config: str, severity: str, code: str, tmp_path: Path) -> None:
    assert code in codes(found(tmp_path, Case("net", config, FILES)), "net", severity)


def test_a_member_may_lie_in_another_repository_that_is_served_along(tmp_path: Path) -> None:
    case = next(
        each for each in CASES if each.others and not each.errors and "ensemble_scheduling" in (each.config or "")
    )
    found(tmp_path / "a", case)
    (tmp_path / "b").mkdir()
    for name in case.others:
        (tmp_path / "a" / name).rename(tmp_path / "b" / name)
    host = Host(release_named(OLD), gpus=0)
    assert "ENS-MODEL" in codes(check(tmp_path / "a", [host]), case.name)
    assert not errors(check([tmp_path / "a", tmp_path / "b"], [host]))
