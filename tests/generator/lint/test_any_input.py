"""Whatever is in the files: findings, and never a traceback or a wait."""

import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import onnxruntime
import pytest

from modelrepo.generator.lint import Finding, Host, check
from modelrepo.generator.lint.check import opened
from modelrepo.generator.lint.data import SEARCHED_AT_ONCE, holds
from modelrepo.generator.lint.finding import Problem
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.rules.unjudged import stops
from modelrepo.generator.lint.subject import Case
from modelrepo.generator.triton.releases import release_named
from tests.generator.lint import broken_files
from tests.generator.lint.models import lay
from tests.generator.lint.mutations import write

HOSTS = (Host(release_named("24.10"), gpus=0, cores=4, memory=1 << 30), Host(release_named("26.09"), gpus=2))
# What one model may take, on a machine that is busy.
SECONDS = 2.0


def judged(root: Path, count: int, seed: int) -> list[Finding]:
    write(root, count, seed)
    started = time.process_time()
    found = check(root, HOSTS)
    assert time.process_time() - started < SECONDS * count
    return found


def faults(found: list[Finding]) -> list[str]:
    return [f"{each.model}: {each.problem.says}" for each in found if each.code == "UNJUDGED"]


def test_broken_files_have_findings(tmp_path: Path) -> None:
    found = judged(tmp_path, 240, seed=0)
    assert faults(found) == []
    assert len({each.model for each in found}) > 200


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_ten_thousand_broken_files_have_findings(seed: int, tmp_path: Path) -> None:
    assert faults(judged(tmp_path, 1000, seed)) == []


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0" * 1000, random.Random(0).randbytes(100_000), b"\xff\xfe" + "name: 'x'".encode("utf-16-le"),
        b"{" * 10_000, b"parameters {" * 3_000, b"[" * 10_000, b"dims: [" + b"1," * 50_000,
        b'name: "' + b"x" * 1_000_000 + b'"',
        b"input { " * 90, b"\x1f\x8b\x08", b'{"name": "x"}', b"\xef\xbb\xbfname: 'x'", b"#" * 1_000_000,
        b"input { dims: 0 }\n" * 3_000,
    ],
    ids=range(15),
)  # fmt: skip
def test_rubbish_has_findings(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net/1").mkdir(parents=True)
    (tmp_path / "net/config.pbtxt").write_bytes(content)
    assert faults(check(tmp_path)) == []


def broken(root: Path, count: int, seed: int) -> None:
    made = broken_files.write(root, count, seed)
    started = time.process_time()
    found = check(root, HOSTS)
    assert time.process_time() - started < SECONDS * count
    assert faults(found) == []
    with_error = {each.model for each in found if each.severity == "error"}
    cut = {name for name, (kind, done) in made.items() if done == "cut" and broken_files.SEEDS[kind].needs_all}
    assert cut - with_error == set()


def test_broken_model_files_have_findings(tmp_path: Path) -> None:
    broken(tmp_path, 200, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_ten_thousand_broken_model_files_have_findings(seed: int, tmp_path: Path) -> None:
    broken(tmp_path, 1000, seed)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def server(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


def leads_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def folder(path: Path) -> None:
    (path / "model.onnx").mkdir(parents=True)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100 << 30)


ODDITIES: dict[str, Callable[[Path], None]] = {
    "pipe": pipe,
    "socket": server,
    "folder": folder,
    "100 GB of nothing": sparse,
    "device": leads_to("/dev/zero"),
    "link to nothing": leads_to("nowhere"),
    "link in a circle": leads_to("."),
    "fails when it is read": leads_to("/proc/self/mem"),
    "waits when it is read": leads_to("/proc/kmsg"),
    "may not be followed": leads_to("/proc/1/root"),
}
PLACES = {
    "onnx": ("config.pbtxt", "1/model.onnx", "model.py", "1/libtriton_onnxruntime.so", "configs/h100.pbtxt", "configs"),
    "external": ("1/weights.bin",),
    "plan": ("1/model.plan",),
    "torchscript": ("1/model.pt",),
    "openvino": ("1/model.xml", "1/model.bin"),
    "python": ("1/model.py",),
    "labels": ("labels.txt",),
    "warm-up": ("warmup/x",),
}
# Files of which some oddities have no fault that could be known: what a plan holds, and what is long enough.
FINE = {
    "100 GB of nothing": ("1/model.plan", "1/weights.bin", "1/model.bin", "labels.txt", "warmup/x"),
    "waits when it is read": ("config.pbtxt", "1/model.onnx"),  # root may find something in it
}
NEEDED = [(kind, name) for kind, names in PLACES.items() for name in names if name in broken_files.SEEDS[kind].files]


@pytest.mark.parametrize("oddity", ODDITIES)
def test_whatever_lies_in_the_place_of_a_file_is_a_finding(
    oddity: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, (kind, name) in enumerate((kind, name) for kind, names in PLACES.items() for name in names):
        seed = broken_files.SEEDS[kind]
        path = lay(Path(f"net{number}"), seed.config, seed.files) / name
        path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        ODDITIES[oddity](path)
        found = check(path.parents[len(Path(name).parts) - 1], HOSTS)
        assert faults(found) == [], name
        if (kind, name) in [*NEEDED, ("onnx", "config.pbtxt")] and name not in FINE.get(oddity, ()):
            assert any(stops(each, strict=False) for each in found), name


@pytest.mark.parametrize(("kind", "name"), NEEDED)
def test_what_may_not_be_read_is_an_error(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, flags: int) -> int:
        if Path(path).name == Path(name).name:
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return os.open(path, flags)

    monkeypatch.setattr("modelrepo.generator.lint.regular._at_once", refuse)
    monkeypatch.setattr("os.access", lambda path, _: Path(path).name != Path(name).name)
    seed = broken_files.SEEDS[kind]
    found = check(lay(tmp_path / "net", seed.config, seed.files), HOSTS)
    assert faults(found) == []
    assert any(each.severity == "error" and "ermission" in each.problem.says for each in found)


@pytest.mark.parametrize("part", ["opset_import", "ir_version"])
def test_onnx_runtime_wants_an_opset_and_an_ir_version(part: str, tmp_path: Path) -> None:
    seed = broken_files.SEEDS["onnx"]
    model = onnx.ModelProto.FromString(seed.files["1/model.onnx"])
    model.ClearField(part)
    content = bytes(model.SerializeToString())
    with pytest.raises(Exception, match=r"model\.cc"):
        onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = check(lay(tmp_path / "net", seed.config, {"1/model.onnx": content}))
    assert "ORT-READ" in {each.code for each in found}


def test_a_part_that_is_missing_in_openvino_s_format_is_a_fault(tmp_path: Path) -> None:
    seed = broken_files.SEEDS["openvino"]
    port = b'<output><port id="0" precision="FP32" names="x"><dim>-1</dim><dim>4</dim></port></output>'
    content = seed.files["1/model.xml"]
    assert port in content
    found = check(lay(tmp_path / "net", seed.config, {**seed.files, "1/model.xml": content.replace(port, b"")}))
    assert faults(found) == []
    assert "OV-READ" in {each.code for each in found}


def test_what_is_searched_is_found_across_blocks(tmp_path: Path) -> None:
    path = tmp_path / "library"
    path.write_bytes(b"x" * (SEARCHED_AT_ONCE - 2) + b"needle" + b"y" * SEARCHED_AT_ONCE + b"end")
    assert holds(path, b"needle", b"end", b"needles") == (True, True, False)
    assert holds(tmp_path, b"needle") == (False,)


def test_deep_code_is_no_fault(tmp_path: Path) -> None:
    seed = broken_files.SEEDS["python"]
    deep = seed.files["1/model.py"] + b"x = " + b"1 + " * 900 + b"1\n"
    found = check(lay(tmp_path / "net", seed.config, {"1/model.py": deep}))
    assert {each.code for each in found} == {"NAME-EMPTY"}


@pytest.mark.parametrize(
    "config",
    [
        'model_warmup { name: "w" batch_size: 1 ' + "".join(
            f'inputs {{ key: "x{number}" value {{ dims: 1 zero_data: true }} }} ' for number in range(2500)) + "}",
        'backend: "tensorrt" ' + "".join(
            f'cc_model_filenames {{ key: "{number}" value: "x" }} ' for number in range(2500)),
        'platform: "ensemble" ensemble_scheduling { step { model_name: "x" model_version: -1 ' + "".join(
            f'input_map {{ key: "x{number}" value: "x" }} output_map {{ key: "y{number}" value: "y{number}" }} '
            for number in range(2500)) + "} }",
        'platform: "ensemble" input { name: "t0" data_type: TYPE_FP32 dims: 1 } ensemble_scheduling { ' + "".join(
            f'step {{ model_name: "x" model_version: -1 input_map {{ key: "x" value: "t{number}" }} '
            f'output_map {{ key: "y" value: "t{number + 1}" }} }} ' for number in reversed(range(2000))) + "}",
    ],
    ids=["warm-up", "capabilities", "wide step", "many steps"],
)  # fmt: skip
def test_what_is_long_does_not_take_its_square(config: str, tmp_path: Path) -> None:
    model = lay(tmp_path / "net", config, {})
    started = time.process_time()
    assert faults(check(model)) == []
    assert time.process_time() - started < 2 * SECONDS


def test_many_models_of_a_repository_are_opened_at_once(tmp_path: Path) -> None:
    models = [tmp_path / f"net{number}" for number in range(1000)]
    for model in models:
        model.mkdir()
        (model / "config.pbtxt").touch()
    started = time.process_time()
    (repository,) = opened(models)
    assert time.process_time() - started < SECONDS
    assert repository.asked == tuple(model.name for model in models)


def test_a_fault_of_a_rule_is_a_finding(tmp_path: Path) -> None:
    def wrong(case: Case) -> Iterator[Problem]:
        raise ValueError("so it is")

    (tmp_path / "net/1").mkdir(parents=True)
    rule = Rule("BROKEN", "error", "broken", "It is broken.", "Mend it", wrong, needs_config=False)
    (found,) = check(tmp_path, chosen=[rule])
    assert (found.code, found.severity) == ("UNJUDGED", "warning")
    assert "so it is" in found.problem.says
    assert stops(found, strict=False)


def test_rules_that_fail_for_one_reason_are_one_finding(tmp_path: Path) -> None:
    def wrong(case: Case) -> Iterator[Problem]:
        raise ValueError("so it is")

    (tmp_path / "net/1").mkdir(parents=True)
    rules = [Rule(code, "error", "broken", "It is broken.", "Mend it", wrong, needs_config=False) for code in "AB"]
    (found,) = check(tmp_path, chosen=rules)
    assert found.problem.says == "nothing is known of A, B: could not judge (so it is)"


def test_a_model_whose_file_has_gone_is_read_again(tmp_path: Path) -> None:
    times = []

    def wrong(case: Case) -> Iterator[Problem]:
        times.append(case.model.config)
        if len(times) == 1:
            raise FileNotFoundError(2, "No such file or directory")
        yield from ()

    (tmp_path / "net/1").mkdir(parents=True)
    assert check(tmp_path, chosen=[Rule("A", "error", "gone", "Gone.", "Mend it", wrong, needs_config=False)]) == []
