"""`modelrepo inspect`: what it prints, its page, and how it ends."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelrepo.cli.commands.inspect import inspect
from modelrepo.cli.terminal import inspection as terminal
from modelrepo.cli.terminal import tables
from modelrepo.generator.inspection import page as pages
from modelrepo.generator.inspection.inspection import Inspection, Node, Weight
from modelrepo.generator.inspection.page import page
from modelrepo.generator.inspection.totals import releases, size
from modelrepo.generator.triton.releases import RELEASES
from tests import onnx_files
from tests.cli.test_check_for_others import environment
from tests.conftest import PROJECT, ModelRepo, assert_refused
from tests.test_docs import pattern, steps

PAGE = PROJECT / "docs/how-to/inspect-a-model.md"
WEIGHTS = numpy_helper.from_array(np.arange(16, dtype=np.float32).reshape(4, 4), "fc.weight")
PRODUCT = helper.make_node("MatMul", ["x", "fc.weight"], ["y"], name="fc")


@pytest.fixture
def net(workdir: Path) -> Path:
    return onnx_files.write("net.onnx", nodes=(PRODUCT,), initializers=(WEIGHTS,))


@pytest.fixture
def repository(net: Path) -> Path:
    for version in (1, 2, 10):
        folder = Path(f"model_repository/net/{version}")
        folder.mkdir(parents=True)
        shutil.copy(net, folder / "model.onnx")
    Path("model_repository/net/config.pbtxt").write_text('backend: "onnxruntime"')
    return Path("model_repository")


@pytest.mark.usefixtures("net")
def test_the_text_says_what_the_file_is(modelrepo: ModelRepo, golden: Callable[[str, str], None]) -> None:
    outcome = modelrepo(inspect, "net.onnx", "--nodes")
    assert (outcome.code, outcome.err) == (0, "")
    golden("inspect/net.txt", outcome.out)


@pytest.mark.usefixtures("net")
def test_the_text_fits_a_terminal(
    modelrepo: ModelRepo, monkeypatch: pytest.MonkeyPatch, golden: Callable[[str, str], None]
) -> None:
    monkeypatch.setattr(tables, "PIPE_WIDTH", 80)
    outcome = modelrepo(inspect, "net.onnx")
    golden("inspect/narrow.txt", outcome.out)


@pytest.mark.usefixtures("net")
def test_json_is_one_object_with_everything(modelrepo: ModelRepo) -> None:
    report = modelrepo(inspect, "net.onnx", "--json").report
    assert (report["valid"], report["format"], report["parameters"]) == (True, "ONNX", 16)
    assert report["inputs"] == [{"name": "x", "data_type": "FP32", "shape": ["batch", 4], "optional": False}]
    assert report["weights_by_layer"] == [{"name": "fc", "tensors": 1, "parameters": 16, "bytes": 64}]
    assert report["nodes"][0]["operator"] == "MatMul"
    assert {use["target"] for use in report["uses"]} == {"onnxruntime", "tensorrt", "openvino"}


def test_a_file_that_is_not_valid_ends_with_6(modelrepo: ModelRepo, workdir: Path) -> None:
    Path("net.onnx").write_bytes(b"")
    outcome = modelrepo(inspect, "net.onnx")
    assert outcome.code == 6
    assert outcome.out == "net.onnx: ONNX, not valid, 0 bytes\nfault: it is empty\n"
    report = modelrepo(inspect, "net.onnx", "--json").report
    assert (report["valid"], report["faults"]) == (False, ["it is empty"])


@pytest.mark.usefixtures("repository")
def test_a_model_of_the_repository_is_its_newest_version(modelrepo: ModelRepo) -> None:
    for named in ("net", "model_repository/net", "model_repository/net/config.pbtxt"):
        report = modelrepo(inspect, named, "--json").report
        assert report["path"] == "model_repository/net/10/model.onnx"
        assert {"name": "version", "value": "10"} in report["facts"]
    report = modelrepo(inspect, "net", "--version", "2", "--json").report
    assert report["path"] == "model_repository/net/2/model.onnx"
    report = modelrepo(inspect, "model_repository/net/1", "--json").report
    assert report["path"] == "model_repository/net/1/model.onnx"


@pytest.mark.usefixtures("repository")
def test_what_is_not_there_is_refused_with_a_next_step(
    modelrepo: ModelRepo, workdir: Path, golden: Callable[[str, str], None]
) -> None:
    (workdir / "notes.txt").write_text("hello")
    (workdir / "data.json").write_text("{}")
    np.savez(workdir / "samples.npz", x=np.zeros(1))
    (workdir / "empty").mkdir()
    (workdir / "ens").mkdir()
    (workdir / "ens/config.pbtxt").write_text(
        'platform: "ensemble" ensemble_scheduling { step { model_name: "net" } step { model_name: "cut" } }'
    )
    (workdir / "bare").mkdir()
    (workdir / "bare/config.pbtxt").write_text('backend: "onnxruntime"')
    (workdir / "two").mkdir()
    for name in ("a.onnx", "b.onnx"):
        shutil.copy("net.onnx", workdir / "two" / name)
    lines = []
    for arguments in (
        ("met",), ("gone/net.onnx",), ("notes.txt",), ("samples.npz",), ("empty",), ("two",), ("ens",), ("bare",),
        ("",),
        ("model_repository",), ("net", "--version", "7"), ("net.onnx", "--version", "1"),
        ("net", "--repository", "other"), ("net.onnx", "--html", "net.onnx/page.html"),
    ):  # fmt: skip
        outcome = modelrepo(inspect, *arguments)
        assert_refused(outcome, outcome.code, "")
        lines.append(f"{outcome.code} {' '.join(arguments)}: {outcome.err}")
    golden("inspect/refusals.txt", "".join(lines))


def test_what_lies_in_a_file_by_accident_is_a_fault(modelrepo: ModelRepo, workdir: Path) -> None:
    Path("net.onnx").write_text("<!doctype html><title>404</title>")
    outcome = modelrepo(inspect, "net.onnx")
    assert outcome.code == 6
    assert "fault: it is not an ONNX model, or is truncated" in outcome.out
    assert "note: It is a web page, perhaps left by a failed download" in outcome.out


def test_names_of_any_characters_are_printed(modelrepo: ModelRepo, workdir: Path) -> None:
    evil = "\x1b[31m<script>alert(1)</script>\n[bold]"
    node = helper.make_node("Relu", [evil], ["y"], name=evil)
    onnx_files.write("net.onnx", nodes=(node,), inputs=((evil, TensorProto.FLOAT, ["n", 4]),))
    outcome = modelrepo(inspect, "net.onnx", "--nodes", "--html", "net.html")
    assert outcome.code == 0
    assert "\x1b" not in outcome.out
    assert "[bold]" in outcome.out
    written = Path("net.html").read_text("utf-8")
    assert "<script" not in written
    assert "&lt;script&gt;" in written
    assert "\x1b" not in written


def test_the_page_needs_no_other_file(modelrepo: ModelRepo, net: Path) -> None:
    outcome = modelrepo(inspect, str(net), "--html", "new/net.html")
    assert outcome.out.endswith("page: new/net.html\n")
    written = Path("new/net.html").read_text("utf-8")
    assert not re.search(r"(?:src|href)=\"(?!#)", written)
    for text in ("MatMul", "fc.weight", "[batch, 4]", "24.10 to 26.09"):
        assert text in written


def test_the_page_of_a_huge_graph_is_bounded_and_says_so() -> None:
    nodes = tuple(Node(f"/block.{number // 100}/m/n{number}", "Relu", ("x",), ("y",)) for number in range(20_000))
    weights = tuple(Weight(f"w{number}", f"l{number}", "FP32", (4,), 4, 16) for number in range(20_000))
    written = page(Inspection(Path("net.onnx"), "ONNX", 1, nodes=nodes, weights=weights))
    assert "The first 3,000 of 20,000 nodes" in written
    assert "19,960 smaller ones" in written
    assert written.count("<li style") == pages.MOST_NODES
    assert len(written) < 1_500_000


def test_sizes_and_releases_are_written_for_people() -> None:
    assert [size(count) for count in (0, 999, 1000, 999_949, 999_950, 46_811_809, 3 << 40)] == [
        "0 bytes", "999 bytes", "1.0 kB", "999.9 kB", "1.0 MB", "46.8 MB", "3.3 TB",
    ]  # fmt: skip
    assert releases(tuple(RELEASES)) == "all"
    assert releases(("26.02", "26.01", "24.10")) == "24.10, 26.01 to 26.02"


def test_what_the_page_of_the_docs_shows_is_what_happens(net: Path, tmp_path: Path) -> None:
    ran = 0
    for command, shown in steps(PAGE):
        run = subprocess.run(
            ["/bin/bash", "-c", command], cwd=net.parent.resolve(), env=environment(tmp_path), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        printed = "\n".join(line.rstrip() for line in run.stdout.rstrip("\n").splitlines())
        assert pattern(shown).fullmatch(printed), f"$ {command}\n{printed}"
        ran += 1
    assert ran == 2


def test_the_python_of_the_page_runs(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out == "fc fc.weight FP32 (4, 4) 64\n"


def test_the_document_is_json_for_any_path() -> None:
    text = json.dumps(terminal.document(Inspection(Path("n\udcff"), "ONNX", 1)))
    assert json.loads(text.encode())["format"] == "ONNX"
