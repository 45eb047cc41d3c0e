"""Each graph after a model answers as its reference in numpy, and as the library that it stands for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest

from modelrepo.generator.errors import OptionError
from modelrepo.generator.preparation.answers import boxes, classes, embeddings, segments, yolo
from modelrepo.generator.preparation.answers.boxes import Wanted
from modelrepo.generator.preparation.answers.finish import Finish
from modelrepo.generator.specs.tensors import Array, Arrays, TensorSpec

RANDOM = np.random.default_rng(0)


def answers(finish: Finish, arrays: Arrays) -> dict[str, Array]:
    """Return the answers of a graph, which are those of its reference, one by one and together."""
    session = onnxruntime.InferenceSession(finish.fragment.model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    assert names == [spec.name for spec in finish.fragment.outputs]

    def asked(given: Arrays) -> dict[str, Array]:
        fed = {finish.fragment.joins[name]: array for name, array in given.items() if name in finish.fragment.joins}
        return dict(zip(names, session.run(None, fed), strict=True))

    together, wanted = asked(arrays), finish.run(arrays)
    assert {name: (each.dtype, each.shape) for name, each in wanted.items()} == {
        name: (each.dtype, each.shape) for name, each in together.items()
    }
    for name in names:
        if wanted[name].dtype.kind == "f":
            np.testing.assert_allclose(together[name], wanted[name], rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(together[name], wanted[name])
    return together


def alone(finish: Finish, arrays: Arrays, row: int) -> dict[str, Array]:
    return answers(finish, {name: array[[row]] for name, array in arrays.items()})


def test_a_classifier_answers_with_its_best_classes_and_their_names() -> None:
    logits = np.array([[0.0, 2.0, 1.0, -3.0]], np.float32)
    finish = classes.best(TensorSpec("out:0", "float32", ("batch", 4)), ("a", "größer", "猫", "d"), 2, "softmax")
    found = answers(finish, {"out:0": logits})
    shares = np.exp(logits) / np.exp(logits).sum()
    assert found["labels"].tolist() == [["größer", "猫"]]
    assert found["classes"].tolist() == [[1, 2]]
    np.testing.assert_allclose(found["scores"], [[shares[0, 1], shares[0, 2]]], rtol=1e-6)


def test_equal_scores_are_ranked_by_their_class_and_saturated_ones_by_their_logits() -> None:
    logits = np.array([[3, 3, 3, 3], [900, 950, 0, 0], [0, 0, 0, 1]], np.float32)
    finish = classes.best(TensorSpec("x", "float32", ("batch", 4)), (), 3, "softmax")
    assert answers(finish, {"x": logits})["classes"].tolist() == [[0, 1, 2], [1, 0, 2], [3, 0, 1]]


def test_classes_of_which_several_are_right_have_probabilities_of_their_own() -> None:
    finish = classes.best(TensorSpec("x", "float32", ("batch", 3)), (), 3, "sigmoid")
    found = answers(finish, {"x": np.array([[0, 100, -100]], np.float32)})
    np.testing.assert_allclose(found["scores"], [[1, 0.5, 0]], atol=1e-6)


def test_tokens_are_classified_one_by_one_in_any_length() -> None:
    finish = classes.best(TensorSpec("x", "float32", ("batch", "tokens", 4)), tuple("abcd"), 1, "softmax")
    logits = RANDOM.standard_normal((2, 5, 4)).astype(np.float32)
    assert answers(finish, {"x": logits})["classes"][..., 0].tolist() == logits.argmax(-1).tolist()


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_scores_of_another_type_become_float32(dtype: str) -> None:
    finish = classes.best(TensorSpec("x", dtype, ("batch", 4)), (), 2, "softmax")
    assert answers(finish, {"x": RANDOM.standard_normal((2, 4)).astype(dtype)})["scores"].dtype == np.float32


def logits_and_boxes(count: int, kinds: int) -> dict[str, Array]:
    return {
        "logits": (3 * RANDOM.standard_normal((2, count, kinds))).astype(np.float32),
        "pred_boxes": RANDOM.random((2, count, 4)).astype(np.float32),
    }


@pytest.mark.parametrize("focal", [False, True])
def test_queries_answer_as_transformers_image_processors(focal: bool) -> None:
    import torch
    from transformers import ConditionalDetrImageProcessor, DetrImageProcessor
    from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput

    arrays = logits_and_boxes(12, 7)
    kinds = 7 if focal else 6
    logits, placed = (TensorSpec(name, "float32", ("batch", *array.shape[1:])) for name, array in arrays.items())
    finish = boxes.queries(logits, placed, Wanted(tuple("abcdefg"[:kinds]), 0.5, 100), focal=focal)
    found = answers(finish, arrays)
    outputs = DetrObjectDetectionOutput(**{name: torch.from_numpy(array) for name, array in arrays.items()})
    processor: Any = ConditionalDetrImageProcessor() if focal else DetrImageProcessor()
    for row, wanted in enumerate(processor.post_process_object_detection(outputs, threshold=0.5)):
        count = int(found["count"][row, 0])
        order = np.argsort(-wanted["scores"].numpy(), kind="stable")
        assert count == len(order) > 0
        np.testing.assert_allclose(found["scores"][row, :count], wanted["scores"].numpy()[order], rtol=1e-5)
        np.testing.assert_allclose(found["boxes"][row, :count], wanted["boxes"].numpy()[order], atol=1e-6)
        assert found["classes"][row, :count].tolist() == wanted["labels"].numpy()[order].tolist()
    assert alone(finish, arrays, 1)["scores"].tolist() == found["scores"][1:].tolist()


def test_boxes_that_a_model_has_chosen_get_names_and_a_threshold() -> None:
    arrays = {
        "boxes": RANDOM.random((3, 4)).astype(np.float32),
        "labels": np.array([2, 1, 2]),
        "scores": np.array([0.9, 0.5, 0.4], np.float32),
        "masks": RANDOM.random((3, 1, 2, 2)).astype(np.float32),
    }
    specs = {name: TensorSpec(name, array.dtype.name, ("n", *array.shape[1:])) for name, array in arrays.items()}
    names = ("__background__", "cat", "dog")
    assert answers(boxes.found(specs, Wanted(names, 0.5, 0)), arrays)["labels"].tolist() == ["dog", "cat"]
    whole = answers(boxes.found(specs, Wanted(names, 0.0, 0)), arrays)
    assert (whole["labels"].tolist(), whole["masks"].shape) == (["dog", "cat", "dog"], (3, 1, 2, 2))


def test_a_smaller_map_is_enlarged_as_transformers_does_it() -> None:
    import torch
    from transformers import SegformerImageProcessor
    from transformers.modeling_outputs import SemanticSegmenterOutput

    logits = RANDOM.standard_normal((2, 5, 8, 9)).astype(np.float32)
    arrays = {"logits": logits, "pixel_values": np.zeros((2, 3, 31, 37), np.float32)}
    picture = TensorSpec("pixel_values", "float32", ("batch", 3, "height", "width"))
    found = answers(segments.mapped(TensorSpec("logits", "float32", ("batch", 5, 8, 9)), picture), arrays)
    processor: Any = SegformerImageProcessor()
    outputs = SemanticSegmenterOutput(logits=torch.from_numpy(logits))
    wanted = processor.post_process_semantic_segmentation(outputs, target_sizes=[(31, 37)] * 2)
    np.testing.assert_array_equal(found["class_map"], np.stack([each.numpy() for each in wanted]))
    assert (found["margin"] >= 0).all()


def test_a_map_of_more_classes_than_a_byte_holds_is_of_int32() -> None:
    logits = RANDOM.standard_normal((1, 300, 2, 2)).astype(np.float32)
    specs = (TensorSpec("x", "float32", ("b", 300, 2, 2)), TensorSpec("i", "float32", ("b", 3, 2, 2)))
    assert answers(segments.mapped(*specs), {"x": logits})["class_map"].dtype == np.int32


def test_an_embedding_has_length_one_and_zeros_stay_zeros() -> None:
    import torch

    values = np.stack([RANDOM.standard_normal(8), np.zeros(8)]).astype(np.float32)
    found = answers(embeddings.unit(TensorSpec("x", "float32", ("batch", 8))), {"x": values})["embedding"]
    np.testing.assert_allclose(found, torch.nn.functional.normalize(torch.from_numpy(values)), atol=1e-6)


def test_tokens_are_pooled_within_their_mask() -> None:
    tokens = RANDOM.standard_normal((2, 3, 8)).astype(np.float32)
    arrays = {"x": tokens, "attention_mask": np.array([[1, 1, 0], [1, 1, 1]])}
    specs = (TensorSpec("x", "float32", ("b", "t", 8)), TensorSpec("attention_mask", "int64", ("b", "t")))
    mean = answers(embeddings.unit(specs[0], "mean", specs[1]), arrays)["embedding"]
    first = answers(embeddings.unit(specs[0], "cls"), {"x": tokens})["embedding"]
    pooled = np.stack([tokens[0, :2].mean(0), tokens[1].mean(0)])
    np.testing.assert_allclose(mean, pooled / np.linalg.norm(pooled, axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(first, tokens[:, 0] / np.linalg.norm(tokens[:, 0], axis=1, keepdims=True), rtol=1e-5)


def head(version: str, anchors: int, rows: int = 3) -> Array:
    """Return a YOLO's answers with many boxes that overlap; those of the second picture have no scores."""
    where = [100 * RANDOM.random((rows, anchors, 2)), 5 + 60 * RANDOM.random((rows, anchors, 2))]
    scores = [RANDOM.random((rows, anchors, 1)), RANDOM.random((rows, anchors, 6)) ** 2]
    found = np.concatenate([*where, *scores[version == "v8" :]], axis=-1).astype(np.float32)
    found[1:2, :, 4:] = 0
    return np.ascontiguousarray(found.transpose(0, 2, 1) if version == "v8" else found)


@pytest.mark.parametrize("most", [7, 200])
@pytest.mark.parametrize("version", ["v5", "v8"])
def test_a_yolo_answers_as_torchvisions_batched_nms(version: str, most: int) -> None:
    import torch
    from torchvision.ops import batched_nms, box_convert

    answer = head(version, 120)
    spec = TensorSpec("o", "float32", ("batch", *answer.shape[1:]))
    finish = yolo.chosen(spec, yolo.layout(spec, answer.shape, 6), Wanted(tuple("abcdef"), 0.25, most), 0.45)
    found = answers(finish, {"o": answer})
    rows = torch.from_numpy(answer.transpose(0, 2, 1) if version == "v8" else answer)
    scored = rows[..., 4:] if version == "v8" else rows[..., 5:] * rows[..., 4:5]
    assert found["count"].ravel().tolist()[1] == 0
    for row in range(3):
        best, kinds = scored[row].max(1)
        above = best > 0.25
        placed = box_convert(rows[row, :, :4], "cxcywh", "xyxy")[above]
        kept = batched_nms(placed, best[above], kinds[above], 0.45)[:most]
        count = len(kept)
        assert found["count"][row, 0] == count
        np.testing.assert_array_equal(found["classes"][row, :count], kinds[above][kept].numpy())
        np.testing.assert_allclose(found["boxes"][row, :count], placed[kept].numpy(), atol=1e-4)
        assert not found["scores"][row, count:].any()
        assert not found["boxes"][row, count:].any()
        assert {*found["classes"][row, count:], *found["labels"][row, count:]} <= {-1, ""}
    assert alone(finish, {"o": answer}, 2)["boxes"].tolist() == found["boxes"][2:].tolist()


@pytest.mark.parametrize(
    ("shape", "names", "wanted"),
    [
        ((1, 84, 8400), 0, ("v8", 80, 8400)),
        ((1, 25200, 85), 0, ("v5", 80, 25200)),
        ((1, 84, 20), 80, ("v8", 80, 20)),
        ((1, 20, 85), 80, ("v5", 80, 20)),
    ],
)
def test_the_layout_of_a_yolo_follows_from_its_shape_and_its_classes(
    shape: tuple[int, ...], names: int, wanted: Sequence[object]
) -> None:
    found = yolo.layout(TensorSpec("o", "float32", ("batch", *shape[1:])), shape, names)
    assert (found.version, found.classes, found.anchors) == wanted


@pytest.mark.parametrize(("shape", "names"), [((1, 84), 0), ((1, 84, 8400), 3), ((1, 4, 100), 0), ((1, 9, 9), 0)])
def test_another_shape_is_refused_with_both_layouts(shape: tuple[int, ...], names: int) -> None:
    with pytest.raises(OptionError, match="YOLOv8 answers"):
        yolo.layout(TensorSpec("o", "float32", shape), shape, names)
