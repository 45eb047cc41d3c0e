"""timm's models, with real exports: its smallest ones, made for its own tests."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image

from modelrepo.clients.images import load_image
from modelrepo.generator.errors import SourceError
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.fields import parse_field
from modelrepo.generator.options.resolve import resolve
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import SOURCES
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.system.digests import sha256_of
from tests.conftest import Generate, assert_refused, snapshot

MODEL, TAG = "test_vit", "r160_in1k"
RANDOM = ("--model", f"timm:{MODEL}", "--weights", "random", "--max-batch-size", "2", "--json", "-q")


def load(name: str, weights: str = "random", **flags: str) -> SourceModel:
    told = {"weights": weights, **flags}
    read = {key: parse_field(key, value, key) for key, value in told.items()}
    return SOURCES["timm"].load(name, resolve(read, ConfigFile(), f"timm:{name}")[1], Progress())


@pytest.fixture
def hub(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """The hub's cache without a network; the returned function adds a file to the repository of MODEL's weights."""
    from huggingface_hub import constants

    cache = workdir / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(name: str, write: Callable[[Path], object]) -> Path:
        repository = cache / f"models--timm--{MODEL}.{TAG}"
        file = repository / "snapshots" / "abc" / name
        file.parent.mkdir(parents=True)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("abc")
        write(file)
        return file

    return put


def test_a_model_is_exported_verified_and_served_by_triton(generate: Generate, workdir: Path) -> None:
    outcome = generate(*RANDOM, "--live-check", "require")
    assert outcome.code == 0, outcome.err
    result = outcome.result
    assert (result["name"], result["status"], result["max_batch_size"]) == (MODEL, "published", 2)
    assert result["verification"]["batch_invariant"] is True
    assert result["verification"]["live"]["status"] == "passed"
    session = onnxruntime.InferenceSession(f"{result['path']}/model.onnx", providers=["CPUExecutionProvider"])
    assert [tensor.shape for tensor in session.get_inputs()] == [["batch", 3, 160, 160]]
    assert [tensor.shape for tensor in session.get_outputs()] == [["batch", 1000]]
    labels = (Path(result["path"]).parent / "labels.txt").read_text().splitlines()
    assert (len(labels), labels[0]) == (1000, "tench, Tinca tinca")
    manifest = json.loads((workdir / f".modelrepo/model_repository/manifests/{MODEL}/1.json").read_text())
    assert manifest["provenance"]["source"]["reference"] == f"timm:{MODEL}"


def test_a_tag_is_part_of_the_published_name(generate: Generate, workdir: Path) -> None:
    outcome = generate("--model", f"timm:{MODEL}.{TAG}", "--weights", "random", "--dry-run", "--json", "-q")
    assert (outcome.code, outcome.result["name"]) == (0, f"{MODEL}.{TAG}")


def test_an_image_is_prepared_as_timm_does_it(workdir: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (200, 260, 3), np.uint8)
    Image.fromarray(pixels).save("photo.png")
    preprocess = load(MODEL).preprocess
    assert preprocess is not None
    model = timm.create_model(MODEL)
    wanted = timm.data.create_transform(**timm.data.resolve_model_data_config(model))(Image.open("photo.png"))
    np.testing.assert_allclose(load_image("photo.png", preprocess)[0], wanted.numpy(), atol=1e-6)


def test_a_note_says_what_clients_cannot_do_to_an_image() -> None:
    source = load("convnextv2_nano.fcmae_ft_in22k_in1k_384", input_shape="3x64x64")
    assert source.preprocess is None
    assert "'squash'" in source.notes[0]


def test_the_size_can_be_changed_even_for_a_network_that_depends_on_it() -> None:
    source = load(MODEL, input_shape="3x96x64")
    assert source.inputs[0].shape == ("batch", 3, 96, 64)
    assert source.run({"input": np.zeros((1, 3, 96, 64), "float32")})["output"].shape == (1, 1000)
    assert source.preprocess is not None
    assert source.preprocess["crop"] == [96, 64]


def test_grey_images_are_accepted_if_asked_for() -> None:
    source = load("test_resnet", input_shape="1x64x64")
    assert source.run({"input": np.zeros((1, 1, 64, 64), "float32")})["output"].shape == (1, 1000)
    assert (source.preprocess, "1 channels" in source.notes[0]) == (None, True)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_of_yours_with_classes_of_yours(workdir: Path, suffix: str) -> None:
    torch.manual_seed(5)
    mine = timm.create_model("test_resnet", num_classes=7).eval()
    file = workdir / f"mine{suffix}"
    (torch.save if suffix == ".pth" else safetensors.torch.save_file)(mine.state_dict(), file)
    source = load("test_resnet", str(file), input_shape="3x64x64")
    image = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype("float32")
    with torch.inference_mode():
        np.testing.assert_allclose(
            source.run({"input": image})["output"], mine(torch.from_numpy(image)).numpy(), rtol=1e-4, atol=1e-5
        )
    assert source.weights.sha256 == sha256_of(file)


def test_cached_weights_are_used_without_a_network(hub: Callable[..., Path]) -> None:
    torch.manual_seed(3)
    state = timm.create_model(MODEL).state_dict()
    file = hub("model.safetensors", lambda path: safetensors.torch.save_file(state, path))
    source = load(MODEL, "pretrained")
    assert (source.weights.kind, source.weights.untrained) == ("pretrained", False)
    assert (source.weights.detail, source.weights.sha256) == (f"{MODEL}.{TAG}", sha256_of(file))
    assert torch.equal(source.native.state_dict()["head.weight"], state["head.weight"])


class Code:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("code ran",)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("model.safetensors", lambda path: path.write_bytes(b"\xff" * 64)),
        ("pytorch_model.bin", lambda path: path.write_bytes(pickle.dumps({"head.weight": Code()}))),
        ("pytorch_model.bin", lambda path: torch.save({"head.weight": Code()}, path)),
    ],
    ids=["broken", "a pickle with code", "a checkpoint with code"],
)
def test_unusable_cached_weights_are_reported(
    hub: Callable[..., Path],
    name: str,
    write: Callable[[Path], object],
    generate: Generate,
) -> None:
    hub(name, write)
    outcome = generate("--model", f"timm:{MODEL}", "-q")
    assert (outcome.code, outcome.err.count("\n")) == (3, 1), outcome.err
    assert f"can't use the weights of timm:{MODEL}: " in outcome.err
    assert "code ran" not in outcome.out + outcome.err


def test_weights_that_cannot_be_downloaded_name_the_way_out(
    generate: Generate, workdir: Path, hub: Callable[..., Path]
) -> None:
    before = snapshot(workdir)
    outcome = generate("--model", f"timm:{MODEL}", "-q")
    assert (outcome.code, outcome.err.count("\n")) == (3, 1), outcome.err
    for told in (f"timm/{MODEL}.{TAG} is not in the hub's cache", "--weights random", "hf download"):
        assert told in outcome.err
    assert snapshot(workdir) == before


def test_missing_weights_become_random_ones_with_a_warning_if_allowed(
    generate: Generate, workdir: Path, hub: Callable[..., Path]
) -> None:
    (workdir / "modelrepo.toml").write_text('allow_untrained = true\nmax_batch_size = 1\nexporter = "torchscript"\n')
    again = ("--model", f"timm:{MODEL}", "--json", "-q")
    first = generate(*again)
    assert (first.code, first.result["status"]) == (0, "published"), first.err
    assert "RANDOM weights" in first.err
    assert generate(*again).result["status"] == "unchanged"

    hub("model.safetensors", lambda path: safetensors.torch.save_file(timm.create_model(MODEL).state_dict(), path))
    made = generate(*again)
    assert (made.code, made.result["version"]) == (0, 2), made.err
    assert "RANDOM" not in made.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--model", "timm:resnett50"), 3, "Did you mean resnet50"),
        (("--model", "timm:resnet50.a1_in2k"), 3, "timm has no weights 'a1_in2k' for resnet50. Did you mean a1_in1k"),
        (("--model", "timm:org/resnet50"), 3, "unknown timm model 'org/resnet50'"),
        (("--model", "timm:starnet_s050"), 3, "timm has no pretrained weights for starnet_s050. Use --weights random"),
        (("--model", f"timm:{MODEL}", "--weights", "random", "--input-shape", "3x65x65"), 3, "patch size (16)"),
        (
            ("--model", "timm:xcit_nano_12_p8_224", "--weights", "random", "--input-shape", "3x225x225"),
            3,
            "is not built for 225x225",
        ),
        (("--model", f"timm:{MODEL}", "--weights", "random", "--input-shape", "64x64"), 2, "does not fit a timm model"),
        (("--model", f"timm:{MODEL}", "--signature", "serve"), 2, "has no effect on timm:"),
    ],
)
def test_requests_that_timm_cannot_fulfil_are_refused(
    generate: Generate, workdir: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    assert_refused(generate(*arguments, "-q"), code, message)
    assert snapshot(workdir) == {}


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SourceError) as error:
        SOURCES["timm"].known()
    assert "pip install 'modelrepo[timm]'" in str(error.value)
