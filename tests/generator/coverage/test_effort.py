"""How much work an answer takes, from the shapes that ONNX infers."""

from onnx import TensorProto, helper

from modelrepo.generator.coverage.effort import work_of


def test_a_product_of_tensors_whose_rank_is_not_known_counts() -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["x", "shape"], ["left"]),
            helper.make_node("MatMul", ["left", "left"], ["y"]),
        ],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 4]),
            helper.make_tensor_value_info("shape", TensorProto.INT64, ["rank"]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    assert work_of(helper.make_model(graph), {}) >= 1
