"""The examples of the rules' pages: the wrong side breaks its rule, and the right side no rule."""

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from modelrepo.generator.lint import Host, check
from modelrepo.generator.lint.examples import EXAMPLES, ONNX
from modelrepo.generator.lint.page import page
from modelrepo.generator.lint.rules import rules
from modelrepo.generator.triton.releases import release_named
from tests.differential.corpus.examples import MEMBER, completed, is_layout

# The backend light is not there, nor a model.py.
ELSEWHERE = ("BACKEND", "VDIR-EMPTY")
RULES = {rule.code: rule for rule in rules()}


def write(root: Path, lines: str, versions: tuple[str, ...]) -> Path:
    """Write the model of an example into a repository, with what else it needs."""
    paths = [f"net/{version}/model.onnx" for version in versions]
    config = completed(lines)
    if is_layout(lines):
        paths, config = lines.splitlines()[1:], ONNX
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model("ReduceMean", 3, 1, axes=[1]), root / path)
    (root / "net/labels.txt").write_text("cat\ndog\n")
    (root / "net/config.pbtxt").write_text(config)
    (root / "scale/1").mkdir(parents=True)
    onnx.save(model("Identity", 4, 4), root / "scale/1/model.onnx")
    (root / "scale/config.pbtxt").write_text(MEMBER.replace("light", "onnxruntime"))
    return root


def model(operator: str, taken: int, given: int, **attributes: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"], **attributes)],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", taken])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", given])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def found(root: Path, code: str) -> set[str]:
    decider = RULES[code].decided_by
    host = Host(release_named("26.09"), gpus=0, profile="dynamo" if decider == "dynamo" else "triton")
    wanted = [rule for rule in RULES.values() if rule.severity == "error" or rule.code == code]
    asked = [rule for rule in wanted if rule.code == code or rule.code not in ELSEWHERE]
    return {each.code for each in check(root, [host], asked)}


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_breaks_its_rule_and_no_other(code: str, tmp_path: Path) -> None:
    versions = ("1", "2") if code == "DYNAMO-VP" else ("1",)
    assert code in found(write(tmp_path / "wrong", EXAMPLES[code].wrong, versions), code)
    assert found(write(tmp_path / "right", EXAMPLES[code].right, versions), code) == set()


def test_a_page_shows_both_sides() -> None:
    text = page(RULES["DIM"])
    assert "dims: [ 3, 0 ]" in text.partition("Instead:")[0]
    assert "dims: [ 3, -1 ]" in text.partition("Instead:")[2]
    assert "## Example" not in page(RULES["READ"])
