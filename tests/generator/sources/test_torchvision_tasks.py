"""torchvision beyond classification: each task exported, verified and served, on images small enough to be quick."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from modelrepo.clients.images import load_image
from modelrepo.generator.errors import InputRefused, OptionError, SourceError
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.fields import parse_field
from modelrepo.generator.options.resolve import resolve
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import SOURCES, pytorch
from modelrepo.generator.sources.pytorch import pretrained
from modelrepo.generator.sources.pytorch.steady import steady
from modelrepo.generator.sources.torchvision import detectors
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Arrays, TensorSpec
from tests.conftest import QUICK_EXPORT, Generate, snapshot

DETECTOR, SEGMENTER = "ssdlite320_mobilenet_v3_large", "lraspp_mobilenet_v3_large"
WITH_AUX = "deeplabv3_mobilenet_v3_large"


def options_for(name: str, **flags: str) -> Options:
    told = {"weights": "random", **flags}
    return resolve({key: parse_field(key, value, key) for key, value in told.items()}, ConfigFile(), name)[1]


def load(name: str, **flags: str) -> SourceModel:
    return SOURCES["torchvision"].load(name, options_for(name, **flags), Progress())


def answer_to(source: SourceModel, batch: int = 1) -> Arrays:
    random = np.random.default_rng(0)
    shapes = {spec.name: tuple(batch if isinstance(dim, str) else dim for dim in spec.shape) for spec in source.inputs}
    return source.run({name: random.random(shape).astype("float32") for name, shape in shapes.items()})


def config_of(name: str) -> Any:
    return text_format.Parse(Path(f"model_repository/{name}/config.pbtxt").read_text(), ModelConfig())


# How each task is asked.


@pytest.mark.parametrize(
    ("name", "shape", "inputs", "outputs"),
    [
        (SEGMENTER, "3x32x48", ["input[batch, 3, 32, 48]"], {"out": (2, 21, 32, 48)}),
        (WITH_AUX, "3x32x48", ["input[batch, 3, 32, 48]"], {"out": (2, 21, 32, 48), "aux": (2, 21, 32, 48)}),
        ("mc3_18", "3x4x32x32", ["video[batch, 3, 4, 32, 32]"], {"output": (2, 400)}),
        (
            "raft_small",
            "3x128x136",
            ["image1[batch, 3, 128, 136]", "image2[batch, 3, 128, 136]"],
            {"flow": (2, 2, 128, 136)},
        ),
        ("quantized_shufflenet_v2_x0_5", "3x32x32", ["input[batch, 3, 32, 32]"], {"output": (2, 1000)}),
    ],
)
def test_each_task_has_its_own_inputs_and_outputs(
    name: str, shape: str, inputs: list[str], outputs: Mapping[str, tuple[int, ...]]
) -> None:
    source = load(name, input_shape=shape)
    assert [*map(str, source.inputs)] == inputs
    assert {key: answer.shape for key, answer in answer_to(source, 2).items()} == outputs


def test_a_detector_takes_one_image_and_returns_a_row_per_box() -> None:
    source = load(DETECTOR)
    assert [*map(str, source.inputs)] == ["image[3, 320, 320]"]
    answer = answer_to(source)
    rows = {key: array.shape for key, array in answer.items()}
    assert rows == {"boxes": (4, 4), "scores": (4,), "labels": (4,)}
    assert (np.diff(answer["scores"]) < 0).all(), "random weights must not find all boxes equally likely"
    assert any("without a batch axis" in note for note in source.notes)


def test_the_size_of_the_weights_is_the_default() -> None:
    shapes = {name: load(name).inputs[0].shape[1:] for name in ("mc3_18", SEGMENTER)}
    assert shapes == {"mc3_18": (3, 16, 112, 112), SEGMENTER: (3, 520, 520)}


def test_a_quantized_model_gets_a_note_that_it_is_the_float_one() -> None:
    source = load("quantized_shufflenet_v2_x0_5", input_shape="3x32x32")
    assert "--precision int8" in source.notes[0]


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("raft_small", "image1=3x128x128,image2=3x128x136", "have one shape"),
        ("raft_small", "image3=3x128x128", "names the input 'image3'"),
        ("mc3_18", "3x112x112", "does not fit a video classifier"),
        (DETECTOR, "2x3x64x64", "does not fit a detector"),
        (SEGMENTER, "1x64x64", "does not fit a segmentation model"),
    ],
)
def test_a_shape_that_does_not_fit_the_task_is_refused(name: str, shape: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        load(name, input_shape=shape)


def test_a_size_that_a_network_does_not_take_is_reported_before_the_export() -> None:
    with pytest.raises(SourceError, match=r"raft_small itself fails on image1\[batch, 3, 64, 64\]"):
        load("raft_small", input_shape="3x64x64")


def test_dimensions_can_be_made_dynamic_and_are_tried_with_sizes_that_networks_take() -> None:
    (spec,) = load(SEGMENTER, input_shape="3x32x32", dynamic="0=batch,2=height,3=width").inputs
    assert spec.shape == ("batch", 3, "height", "width")
    assert spec.sizes == {"height": (32, 64, 96), "width": (32, 64, 96)}


# Served by a real Triton.


def test_a_segmenter_is_served_with_an_output_of_the_image_s_size(generate: Generate, workdir: Path) -> None:
    outcome = generate(
        *("--model", SEGMENTER, "--weights", "random", "--input-shape", "3x32x32", "--max-batch-size", "2"),
        *("--live-check", "require", "--json", "-q"),
    )
    assert outcome.code == 0, outcome.err
    assert outcome.result["verification"]["live"]["status"] == "passed"
    config = config_of(SEGMENTER)
    assert [(output.name, list(output.dims)) for output in config.output] == [("out", [21, 32, 32])]
    assert not config.output[0].label_filename


def test_a_detector_is_served_without_batches(generate: Generate, workdir: Path) -> None:
    outcome = generate("--model", DETECTOR, "--weights", "random", "--live-check", "require", "--json", "-q")
    assert outcome.code == 0, outcome.err
    assert outcome.result["max_batch_size"] == 0
    assert outcome.result["verification"]["live"]["cases"] > 0
    config = config_of(DETECTOR)
    assert list(config.input[0].dims) == [3, 320, 320]
    assert [list(output.dims) for output in config.output] == [[-1, 4], [-1], [-1]]


def test_a_video_classifier_is_served_in_batches(generate: Generate, workdir: Path) -> None:
    outcome = generate(
        *("--model", "mc3_18", "--weights", "random", "--input-shape", "3x2x16x16", "--max-batch-size", "2"),
        *("--live-check", "require", "--json", "-q"),
    )
    assert outcome.code == 0, outcome.err
    assert outcome.result["verification"]["batch_invariant"] is True
    labels = (workdir / "model_repository/mc3_18/labels.txt").read_text().splitlines()
    assert (len(labels), labels[0]) == (400, "abseiling")


@pytest.mark.slow
def test_optical_flow_is_served_from_two_images(generate: Generate, workdir: Path) -> None:
    outcome = generate(
        *("--model", "raft_small", "--weights", "random", "--input-shape", "3x128x128", "--max-batch-size", "2"),
        *("--live-check", "require", "--json", "-q"),
    )
    assert outcome.code == 0, outcome.err
    assert outcome.result["max_batch_size"] == 2
    assert [each.name for each in config_of("raft_small").input] == ["image1", "image2"]


# Weights of one's own.


def test_a_segmenter_of_other_classes_and_without_the_second_head_fits(workdir: Path) -> None:
    mine = torchvision.models.get_model(WITH_AUX, weights=None, weights_backbone=None, num_classes=3, aux_loss=False)
    torch.save(mine.state_dict(), "mine.pth")
    source = load(WITH_AUX, weights="mine.pth", input_shape="3x32x32")
    assert {key: answer.shape for key, answer in answer_to(source).items()} == {"out": (1, 3, 32, 32)}


def test_a_detector_of_other_classes_with_frozen_batch_norms_fits(workdir: Path) -> None:
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    mine = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=5)
    state = {key: value for key, value in mine.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(state, "mine.pth")
    source = load(name, weights="mine.pth", input_shape="3x64x64")
    predictor = source.native.module.roi_heads.box_predictor
    assert (predictor.cls_score.out_features, predictor.bbox_pred.out_features) == (5, 20)
    assert source.native.module.roi_heads.detections_per_img == 100, "only random weights answer few boxes"


def test_weights_of_another_model_are_refused_in_one_line(generate: Generate, workdir: Path) -> None:
    torch.save(torchvision.models.get_model("shufflenet_v2_x0_5").state_dict(), "other.pth")
    before = snapshot(workdir)
    outcome = generate("--model", SEGMENTER, "--weights", "other.pth", "--json", "-q")
    assert (outcome.code, f"does not fit {SEGMENTER}" in outcome.err, outcome.err.count("\n")) == (3, True, 1)
    assert snapshot(workdir) == before


def test_published_weights_of_a_quantized_model_are_those_of_the_float_model(
    generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(workdir / "cache"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    outcome = generate("--model", "quantized_resnet18", "-q")
    assert (outcome.code, "resnet18-f37072fd.pth" in outcome.err) == (3, True), outcome.err


# How an image is prepared.


def test_a_detector_s_image_is_prepared_without_a_batch_axis(workdir: Path) -> None:
    from PIL import Image

    Image.new("RGB", (40, 30), (255, 0, 0)).save("red.png")
    preprocess = load(DETECTOR).preprocess
    assert preprocess is not None
    image = load_image("red.png", preprocess)
    assert image.shape == (3, 320, 320)
    assert image[:, 160, 160].tolist() == [1.0, 0.0, 0.0]


def test_an_image_that_clients_cannot_prepare_has_no_preprocess() -> None:
    assert load("mc3_18", input_shape="3x2x16x16").preprocess is None


# What hangs on rounding.


def source_of(function: Any) -> SourceModel:
    inputs = (TensorSpec("x", "float32", (4,)),)
    return pytorch.source_model(
        "test:it", pytorch.as_module(function), inputs, Weights("own", "", False), output_names=("y",)
    )


def test_an_input_for_which_rounding_decides_is_refused() -> None:
    asked = 0

    def first_of_the_largest(x: Any) -> Any:
        nonlocal asked
        asked += 1
        return x.argmax()[None]

    source = steady(source_of(first_of_the_largest))
    clear, tied = np.array([1, 2, 3, 0], "float32"), np.ones(4, "float32")
    assert source.run({"x": clear})["y"].tolist() == [2]
    with pytest.raises(InputRefused, match="lets rounding decide"):
        source.run({"x": tied})
    before = asked
    source.run({"x": clear})
    assert asked == before, "what is known is not asked again"


def test_an_output_of_another_shape_is_decided_by_rounding() -> None:
    source = steady(source_of(lambda x: x[x > 1.0]))
    with pytest.raises(InputRefused):
        source.run({"x": np.array([1.0, 1.0, 1.0, 1.0], "float32")})


def test_outputs_of_scaled_layers_have_a_deviation_of_one() -> None:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 16))
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.mul_(1e-4)
        images = torch.randn(32, 3, 5, 5)
        detectors.vary(layers, ((images,), {}))
        assert layers(images).std().item() == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize(("theirs", "classes"), [((6, 3), 3), ((10, 5), 5), ((7, 5), 2)])
def test_classes_are_found_only_if_all_tensors_agree(theirs: tuple[int, int], classes: int) -> None:
    # Of two classes, and a second layer with four rows for two.
    own = {"head": torch.zeros(2, 7), "boxes": torch.zeros(4, 7)}
    state = {"head": torch.zeros(theirs[1], 7), "boxes": torch.zeros(theirs[0], 7)}
    assert pretrained._classes(own, state, 2) == classes


def test_the_manifest_says_how_an_image_is_prepared(generate: Generate, workdir: Path) -> None:
    outcome = generate(
        *("--model", SEGMENTER, "--weights", "random", "--input-shape", "3x32x48", "--max-batch-size", "1"),
        *(*QUICK_EXPORT, "--json", "-q"),
    )
    assert outcome.code == 0, outcome.err
    manifest = json.loads((workdir / f".modelrepo/model_repository/manifests/{SEGMENTER}/1.json").read_text())
    preprocess = manifest["provenance"]["source"]["preprocess"]
    assert (preprocess["resize"], preprocess["crop"], preprocess["layout"]) == (32, [32, 48], "NCHW")
