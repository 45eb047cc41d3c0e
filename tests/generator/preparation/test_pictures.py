"""Pictures as clients have them: prepared in a graph as the source's own code prepares them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import transformers
from PIL import Image
from torchvision.models import MobileNet_V3_Small_Weights, ViT_B_16_Weights
from torchvision.models.segmentation import LRASPP_MobileNet_V3_Large_Weights

from modelrepo.generator import sources
from modelrepo.generator.errors import InputRefused, OptionError, VerificationError
from modelrepo.generator.export.wrapped import TO_ONNX
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.resolve import resolve
from modelrepo.generator.preparation.pictures import MEASURED, MOST_STEPS, SAME, photographs, pictured
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources.hf import picturing
from modelrepo.generator.sources.timm import _preparation as of_timm
from modelrepo.generator.sources.torchvision.tasks import CLASSIFIER, task_of
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Choice, Options
from modelrepo.generator.specs.preparation import UNPREPARED, Preparation, Resize
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Arrays, Dim, TensorSpec
from tests import onnx_files
from tests.conftest import Generate

ODD = ((1, 1000), (1000, 3), (257, 125), (224, 224), (3, 5))
SHAPE = (3, 224, 224)
CONFIG = timm.data.resolve_data_config(pretrained_cfg={"input_size": SHAPE})


def echoing(preparation: Preparation | None, shape: tuple[Dim, ...] = SHAPE) -> SourceModel:
    """Return a source that answers with its input, so that what is prepared is seen."""
    spec = TensorSpec(preparation.input if preparation else "input", "float32", ("batch", *shape))

    def run(arrays: Arrays) -> dict[str, Any]:
        return {"output": arrays[spec.name]}

    weights = Weights("own", "", untrained=False)
    return SourceModel("mine:echo", "mine", None, (spec,), ("output",), run, weights, preparation=preparation)


def options(**changes: Any) -> Options:
    asked = {"model": "torchvision:resnet18", "with_preprocessing": True}
    return replace(resolve(asked, ConfigFile(), "torchvision:resnet18")[1], **changes)


def far(preparation: Preparation | None, shape: tuple[Dim, ...] = SHAPE) -> float:
    """Return how many steps of uint8 the graph is from the source's own transform at most, in all sizes."""
    assert preparation is not None
    source = pictured(echoing(preparation, shape), options())
    name = source.inputs[0].name
    worst = 0.0
    for picture in photographs((*MEASURED, *ODD), 1):
        try:
            found = source.run({name: picture})["output"][0]
        except InputRefused:  # timm's own transform gives a line of pixels no height within borders
            assert 1 in picture.shape[1:3] or 3 in picture.shape[1:3]
            continue
        worst = max(worst, float((np.abs(found - preparation.own(picture[0])) / preparation.step).max()))
    return worst


@pytest.mark.parametrize("weights", [MobileNet_V3_Small_Weights.DEFAULT, ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1])
def test_a_classifier_of_torchvision_gets_what_its_own_transform_makes(weights: Any) -> None:
    transforms = weights.transforms()
    size = transforms.crop_size[0]
    assert far(CLASSIFIER.preparation(transforms, (3, size, size), "input"), (3, size, size)) <= MOST_STEPS + SAME


def test_another_size_keeps_the_share_of_the_picture() -> None:
    transforms = MobileNet_V3_Small_Weights.DEFAULT.transforms()
    made = CLASSIFIER.preparation(transforms, (3, 96, 128), "input")
    assert made is not None
    assert made.steps[0] == Resize("shorter", (110, 110), "bilinear", turns=True)
    assert far(made, (3, 96, 128)) <= MOST_STEPS + SAME


def test_a_segmenter_keeps_the_shape_of_a_picture_and_must_take_any() -> None:
    import torchvision.models as models

    task = task_of("lraspp_mobilenet_v3_large", models)
    assert task is not None
    transforms = LRASPP_MobileNet_V3_Large_Weights.DEFAULT.transforms()
    fixed = task.preparation(transforms, (3, 520, 520), "input")
    with pytest.raises(OptionError, match="--dynamic input:2=height --dynamic input:3=width"):
        pictured(echoing(fixed), options())
    opened = task.preparation(transforms, (3, "height", "width"), "input")
    assert opened is not None
    source = pictured(echoing(opened, (3, "height", "width")), options(verify=False))
    assert source.inputs[0].shape == ("batch", "picture_height", "picture_width", 3)
    (picture,) = photographs(((60, 83),), 0)
    assert source.run({"image": picture})["output"].shape == (1, 3, 520, 719)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"crop_mode": "squash", "interpolation": "bicubic"},
        {"crop_mode": "border", "crop_pct": 1.0},
        {"crop_mode": "border", "mean": (0.1, 0.5, 0.9), "interpolation": "bicubic"},
        {"input_size": (3, 192, 256), "crop_pct": 0.9},
    ],
)
def test_timm_s_ways_to_crop_are_done_alike(changes: dict[str, Any]) -> None:
    config = {**CONFIG, **changes}
    shape = config["input_size"]
    assert far(of_timm(config, shape), shape) <= MOST_STEPS + SAME


def test_a_filter_that_timm_itself_does_not_have_is_refused() -> None:
    config = {**CONFIG, "interpolation": "random"}
    with pytest.raises(OptionError, match="timm's own transform fails on 'random'"):
        pictured(echoing(of_timm(config, SHAPE)), options())


@pytest.mark.parametrize(
    "processor",
    [
        transformers.ViTImageProcessor,
        transformers.CLIPImageProcessor,
        transformers.EfficientNetImageProcessor,
        transformers.ConvNextImageProcessor,
        transformers.SegformerImageProcessor,
    ],
)
def test_a_processor_of_transformers_is_followed(processor: Callable[[], Any], tmp_path: Path) -> None:
    made = processor()
    made.save_pretrained(tmp_path)
    sizes = {"EfficientNetImageProcessor": 346, "ConvNextImageProcessor": 384, "SegformerImageProcessor": 512}
    size = sizes.get(type(made).__name__, 224)
    found = picturing.preparation(tmp_path, ("batch", 3, size, size))
    assert found.reason == ""
    assert far(found, (3, size, size)) <= MOST_STEPS + SAME


def test_a_processor_with_steps_of_its_own_is_refused(tmp_path: Path) -> None:
    transformers.LevitImageProcessor().save_pretrained(tmp_path)
    with pytest.raises(OptionError, match="LevitImageProcessor has steps of its own"):
        pictured(echoing(picturing.preparation(tmp_path, ("batch", 3, 224, 224))), options())


def test_a_note_that_clients_cannot_prepare_is_dropped_where_the_graph_does_it() -> None:
    told = (f"{UNPREPARED}it takes 4 channels", "another note")
    source = pictured(replace(echoing(of_timm(CONFIG, SHAPE)), notes=told), options(verify=False))
    assert source.notes == ("another note",)


def test_a_graph_that_prepares_otherwise_is_found() -> None:
    config = CONFIG
    found = of_timm(config, SHAPE)
    assert found is not None
    wrong = replace(found, steps=(replace(found.steps[0], filter="bilinear"), *found.steps[1:]))
    source = pictured(echoing(wrong), options())
    (picture,) = photographs(((480, 640),), 0)
    with pytest.raises(VerificationError, match="a picture of 480x640 otherwise than mine:echo"):
        source.run({"image": picture})


def test_pillow_resizes_the_height_first_if_it_loses_more_than_twice_as_much() -> None:
    """If this fails, Pillow has another rule, and so must the graph."""
    random = np.random.default_rng(0)
    for (height, width), (to_height, to_width), first in (((1000, 3), (224, 224), True), ((60, 30), (24, 12), False)):
        image = Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))
        middle = (width, to_height) if first else (to_width, height)
        twice = image.resize(middle, Image.Resampling.BICUBIC).resize((to_width, to_height), Image.Resampling.BICUBIC)
        assert image.resize((to_width, to_height), Image.Resampling.BICUBIC) == twice


@pytest.mark.parametrize("close", [False, True])
def test_the_best_class_is_told_to_be_that_of_the_source_s_own_pipeline(close: bool) -> None:
    """A source whose two best classes are decided by the last bits of a picture is told with how close they are."""
    preparation = of_timm(CONFIG, SHAPE)
    assert preparation is not None
    asked: list[int] = []

    def run(arrays: Arrays) -> dict[str, Any]:
        asked.append(1)
        other = close and len(asked) % 2
        return {"output": np.array([[1, 1 + 1e-3, 0] if other else [1 + 1e-3, 1, 0]])}

    source = pictured(replace(echoing(preparation), run=run, labels=("a", "b", "c")), options())
    said = source.notes[-1]
    assert f"for {0 if close else len(MEASURED)} of {len(MEASURED)} pictures like photographs" in said
    assert ("of the scores' range apart" in said) == close


def test_a_picture_without_pixels_is_refused_by_the_source_and_by_the_graph() -> None:
    source = pictured(
        echoing(of_timm(CONFIG, SHAPE)),
        options(verify=False),
    )
    empty = np.zeros((1, 0, 5, 3), np.uint8)
    with pytest.raises(InputRefused, match="a picture without pixels"):
        source.run({"image": empty})
    import onnxruntime

    session = onnxruntime.InferenceSession(source.native.before.model.SerializeToString())
    with pytest.raises(Exception, match="out of data bounds"):
        session.run(None, {"image": empty})


def test_what_is_not_prepared_from_a_picture_is_refused() -> None:
    with pytest.raises(OptionError, match="does not say how a picture becomes its input"):
        pictured(echoing(None), options())


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("ssdlite320_mobilenet_v3_large", "one picture without a batch"),
        ("r3d_18", "clips of several frames"),
        ("raft_small", "two pictures that belong together"),
    ],
)
def test_what_takes_more_or_other_than_pictures_of_any_size_is_refused_with_the_cause(name: str, cause: str) -> None:
    import torchvision.models as models

    task = task_of(name, models)
    assert task is not None
    transforms = models.get_model_weights(name).DEFAULT.transforms()
    found = task.preparation(transforms, (3, 320, 320), task.inputs[0])
    with pytest.raises(OptionError, match=f"no graph can prepare pictures for mine:echo: .*{cause}"):
        pictured(echoing(found), options())


def test_tensorrt_is_refused_with_the_cause() -> None:
    source = echoing(of_timm(CONFIG, SHAPE))
    with pytest.raises(OptionError, match="no resize that counts all pixels"):
        pictured(source, options(backends=(Choice("tensorrt"),)))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_model_that_takes_pictures_says_so_and_computes_them_in_full_precision(
    generate: Generate, workdir: Path, precision: str
) -> None:
    model = (
        "--model",
        "timm:test_vit",
        "--weights",
        "random",
        "--with-preprocessing",
        "--max-batch-size",
        "2",
        "--no-verify",
    )
    flags = ("--live-check", "off", "--json", "-q")
    choice = "onnx" if precision == "fp32" else f"onnx:{precision}"
    outcome = generate(*model, "--backends", choice, *flags)
    assert outcome.code == 0, outcome.err
    folder = Path(outcome.result["path"])
    config = (folder.parent / "config.pbtxt").read_text()
    assert 'string_value: "image=pixels"' in config
    assert "TYPE_UINT8" in config
    records = [json.loads(each.read_text()) for each in workdir.rglob("1.json")]
    kinds = [each["provenance"]["source"]["input_kinds"] for each in records if "provenance" in each]
    assert kinds == [{"image": "pixels"}]
    graph = onnx.load(folder / "model.onnx").graph
    halves = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
    assert not any(name.startswith("prepare/") for name in halves)
    assert any(name.startswith("prepare/") for name in (node.name for node in graph.node))


def test_the_model_within_is_an_export_by_itself(tmp_path: Path) -> None:
    """So it is proven as without the option, by its own inputs, and its search is not over pixels."""
    spec = TensorSpec("x", "float32", ("batch", 3, 8, 8))
    path = tmp_path / "own.onnx"
    nodes = [onnx.helper.make_node("Relu", ["x"], ["y"])]
    tensors = [(name, onnx.TensorProto.FLOAT, ["batch", 3, 8, 8]) for name in ("x", "y")]
    path.write_bytes(onnx_files.model(nodes, tensors[:1], tensors[1:], []).SerializeToString())
    loader, name = sources.find(f"onnx:{path}")
    source = loader.load(name, options(), Progress())
    prepared = of_timm({**CONFIG, "input_size": (3, 8, 8)}, (3, 8, 8))
    assert prepared is not None
    source = replace(source, inputs=(spec,), preparation=replace(prepared, input="x"))
    found = TO_ONNX.export(pictured(source, options()), tmp_path, options())
    assert found.within is not None
    assert found.within.signature.inputs[0].shape == spec.shape
    assert [each.name for each in found.signature.inputs] == ["image"]
    assert not any(node.name.startswith("prepare/") for node in onnx.load(found.within.path).graph.node)
