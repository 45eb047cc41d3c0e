"""The same estimator becomes the same bytes: a set's order in a converter must not publish a new version."""

import pytest
from onnx import helper

from modelrepo.generator.export.sklearn import _tidy
from tests import onnx_files


@pytest.mark.parametrize("domains", [("", "ai.onnx.ml"), ("ai.onnx.ml", ""), ("ai.onnx.ml", "", "ai.onnx.ml")], ids=str)
def test_operator_sets_are_listed_once_and_in_order(domains: tuple[str, ...]) -> None:
    model = onnx_files.model()
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, 3 if domain else 20) for domain in domains)
    _tidy(model, 10)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20), ("ai.onnx.ml", 3)]
