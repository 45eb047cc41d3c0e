"""The examples of the rules' pages: the wrong side breaks its rule, and the right side no rule."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from modelrepo.generator.lint import Host, check
from modelrepo.generator.lint.examples import EXAMPLES
from modelrepo.generator.lint.page import page
from modelrepo.generator.lint.rules import rules
from modelrepo.generator.triton.releases import release_named
from tests.differential.corpus.examples import completed

RULES = {rule.code: rule for rule in rules()}


def write(root: Path, lines: str, versions: tuple[str, ...] = ("1",)) -> Path:
    for version in versions:
        (root / "net" / version).mkdir(parents=True)
        graph = helper.make_graph(
            [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=1)],
            "graph",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(model, root / "net" / version / "model.onnx")
    (root / "net/labels.txt").write_text("cat\ndog\n")
    (root / "net/config.pbtxt").write_text(completed(lines))
    return root


def found(root: Path, code: str) -> set[str]:
    decider = RULES[code].decided_by
    host = Host(release_named("26.09"), gpus=0, profile="dynamo" if decider == "dynamo" else "triton")
    wanted = [rule for rule in RULES.values() if rule.severity == "error" or rule.code == code]
    without_library = [rule for rule in wanted if rule.code not in ("BACKEND", "VDIR-EMPTY")]
    return {each.code for each in check(root, [host], without_library)}


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
