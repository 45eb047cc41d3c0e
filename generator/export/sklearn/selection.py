"""Choices of columns.

skl2onnx 1.20 writes a broken graph if only the first column is chosen, and has no converter for sequential selection
(no issues known).
"""

from typing import Any

from modelrepo.generator.export.sklearn.nodes import Nodes, is_whole, number_type, tensor_type, whole

SELECTORS = (
    *("GenericUnivariateSelect", "RFE", "RFECV", "SelectFdr", "SelectFpr", "SelectFromModel", "SelectFwe"),
    *("SelectKBest", "SelectPercentile", "SequentialFeatureSelector", "VarianceThreshold"),
)


def chosen(scope: Any, operator: Any, container: Any) -> None:
    """Convert a selector: its columns in their order."""
    nodes, places = Nodes(scope, container), operator.raw_operator.get_support(indices=True)
    rows = nodes.joined(operator.inputs, _kind(operator))
    nodes.add("Gather", rows, whole(places), axis=1, result=operator.outputs[0].full_name)


def shapes(operator: Any) -> None:
    """Set the type of ``chosen``: whole numbers stay whole."""
    operator.outputs[0].type = tensor_type(_kind(operator), int(operator.raw_operator.get_support().sum()))


def _kind(operator: Any) -> Any:
    return "int64" if all(is_whole(each.type) for each in operator.inputs) else number_type(operator.inputs)
