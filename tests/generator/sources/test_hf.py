"""Hugging Face models: folders and the hub's cache, tasks and inputs, and the models that are refused."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from modelrepo.clients.images import load_image
from modelrepo.generator import sources
from modelrepo.generator.errors import OptionError, SourceError
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.resolve import resolve
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.sources import hf
from modelrepo.generator.sources.hf import folder as folders
from modelrepo.generator.sources.hf import hub, images, inputs, tasks
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import InputShape
from tests import stand_ins
from tests.conftest import PROJECT, QUICK_EXPORT, Generate, snapshot
from tests.coverage import transformers_models
from tests.coverage.transformers_models import configuration, save, save_tokenizer

LABELS = ("bad", "good", "so so")


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the hub, and any models cached on this machine."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Save one of the small models once; a test that changes the folder copies it."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = save(name, tmp_path_factory.mktemp("hf") / name)
            save_tokenizer(made[name])
        return made[name]

    return get


def copied(folder: Path, name: str, *, only: str = "*") -> Path:
    target = Path(name)
    target.mkdir(parents=True)
    for file in folder.glob(only):
        (target / file.name).write_bytes(file.read_bytes())
    return target


def edit(path: Path, **changed: Any) -> None:
    document = {**json.loads(path.read_text()), **changed}
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not None}))


def loaded(name: str, **flags: Any) -> SourceModel:
    _, options = resolve({"model": f"hf:{name}", **flags}, ConfigFile(), f"hf:{name}")
    return hf.load(name, options, Progress())


def answers(source: SourceModel, seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    ids = random.integers(0, 100, (2, 5))
    return source.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})


# Served.


KINDS: dict[str, tuple[dict[str, list[int]], int]] = {
    "distilbert": ({"logits": [2]}, 16),
    "t5": ({"logits": [-1, 100], "encoder_last_hidden_state": [-1, 32]}, 16),
    "resnet": ({"logits": [2]}, 16),
    "wav2vec2": ({"logits": [-1, 100]}, 16),
    "clip": ({"logits_per_image": [-1, -1], "logits_per_text": [-1, -1], "text_embeds": [-1, 16],
              "image_embeds": [-1, 16]}, 0),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "exporter"),
    [
        ("distilbert", "auto"),
        *((name, "torchscript") for name in KINDS if name != "distilbert"),
        *(pytest.param(name, "auto", marks=pytest.mark.slow) for name in KINDS if name != "distilbert"),
    ],
)
def test_a_model_of_each_kind_answers_in_a_real_triton_as_in_transformers(
    generate: Generate, saved: Callable[..., Path], name: str, exporter: str
) -> None:
    outputs, batch = KINDS[name]
    copied(saved(name), name)
    outcome = generate("--model", f"hf:./{name}", "--max-batch-size", str(batch or 4), "--exporter", exporter,
                       "--live-check", "require", "--json")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert (outcome.result["name"], outcome.result["max_batch_size"]) == (name, batch)
    assert outcome.result["verification"]["live"]["status"] == "passed"
    config = configuration_of(name)
    assert {tensor.name: list(tensor.dims) for tensor in config.output} == outputs


def configuration_of(name: str) -> Any:
    from modelrepo.generator.triton import pbtxt

    return pbtxt.parse(Path(f"model_repository/{name}/config.pbtxt").read_text(), "here")


def test_the_tokenizer_is_read_from_the_published_version(generate: Generate, saved: Callable[..., Path]) -> None:
    from tokenizers import Tokenizer

    folder = copied(saved("distilbert"), "words")
    edit(folder / "config.json", id2label=dict(enumerate(LABELS)))
    (folder / "README.md").write_text("not for Triton")
    arguments = ("--model", "hf:./words", "--weights", "random", *QUICK_EXPORT, "--json", "-q")
    outcome = generate(*arguments)
    assert outcome.code == 0, outcome.err
    published = Path("model_repository/words/1/processor")
    assert {file.name for file in published.iterdir()} == {"config.json", "tokenizer.json", "tokenizer_config.json"}
    assert Tokenizer.from_file(str(published / "tokenizer.json")).encode("word1 word3").ids == [6, 8]
    assert transformers.AutoTokenizer.from_pretrained(published)("word1 word3")["input_ids"] == [6, 8]
    assert Path("model_repository/words/labels.txt").read_text().splitlines() == list(LABELS)

    # The files are recorded, and are the version's own.
    (manifest,) = Repository(Path("model_repository")).manifests("words")
    assert "1/processor/tokenizer.json" in manifest.files
    (folder / "README.md").write_text("changed")
    assert generate(*arguments).result["status"] == "unchanged"
    with (folder / "tokenizer.json").open("r+") as file:
        file.write(" ")
    assert manifest.is_intact(Path("model_repository/words"))
    (folder / "tokenizer.json").write_bytes((published / "tokenizer.json").read_bytes() + b"\n")
    assert generate(*arguments).result["version"] == 2


def test_a_tensorrt_plan_has_the_tokenizer_beside_it(
    generate: Generate, saved: Callable[..., Path], workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELREPO_CACHE", str(workdir / "cache"))
    monkeypatch.setenv("PATH", stand_ins.install(workdir / "stand-ins"))
    monkeypatch.setenv("STAND_IN_CALLS", str(workdir / "calls"))
    monkeypatch.setenv("STAND_IN_GPU", stand_ins.CAPABILITY)
    folder = copied(saved("distilbert"), "words")
    arguments = ("--model", "hf:./words", "--backends", "tensorrt", "--max-batch-size", "4", "--profiles",
                 "batch=1:2:4,sequence=1:8:16", *QUICK_EXPORT, "--json")  # fmt: skip
    outcome = generate(*arguments)
    assert (outcome.code, outcome.result["status"]) == (0, "published"), outcome.err
    version = Path("model_repository/words/1")
    assert (version / "model.plan").is_file()
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        assert (version / "processor" / name).read_bytes() == (folder / name).read_bytes()
    (manifest,) = Repository(Path("model_repository")).manifests("words")
    assert {name for name in manifest.files if "processor" in name} == {
        f"1/processor/{name}" for name in ("config.json", "tokenizer.json", "tokenizer_config.json")
    }
    assert generate(*arguments).result["status"] == "unchanged"
    # Another tokenizer is another version of the same plan.
    edit(folder / "tokenizer_config.json", model_max_length=7)
    again = generate(*arguments).result
    assert (again["status"], again["version"]) == ("published", 2)
    assert "7" in Path("model_repository/words/2/processor/tokenizer_config.json").read_text()


# What a model is for.


@pytest.mark.parametrize("name", transformers_models.MODELS)
def test_the_task_is_that_of_the_architecture_that_a_configuration_names(name: str) -> None:
    small = transformers_models.MODELS[name]
    wanted = tasks.ALIASES.get(small.task, small.task)
    config = configuration(name)
    auto = tasks.TASKS[wanted].builder(config)
    models = auto._model_mapping[type(config)]
    first = models[0] if isinstance(models, tuple) else models
    config.architectures = [first.__name__]
    found, task = tasks.choose(config, "", "it")
    if wanted != tasks.ENCODED:  # a whole model is told from its encoder only by what is asked for
        assert found == wanted
    assert task.builder(config) is auto


def test_a_configuration_without_an_architecture_gets_the_feature_task() -> None:
    assert tasks.choose(configuration("bert"), "", "it")[0] == "feature-extraction"


def test_other_names_of_a_task_are_known() -> None:
    assert tasks.choose(configuration("vit"), "image-feature-extraction", "it")[0] == "feature-extraction"


def test_the_configuration_chooses_among_several_models_for_a_task() -> None:
    config = configuration("whisper")
    config.architectures = ["WhisperForConditionalGeneration"]
    name, task = tasks.choose(config, "", "it")
    assert (name, task.builder(config).__name__) == ("automatic-speech-recognition", "AutoModelForSpeechSeq2Seq")


# What it takes.


def shapes(name: str, *, task: str = "", size: tuple[int, int] | None = None) -> dict[str, tuple[Any, ...]]:
    small = transformers_models.MODELS[name]
    task = tasks.ALIASES.get(small.task, small.task)
    config = configuration(name)
    with torch.device("meta"):
        model = tasks.TASKS[task].builder(config).from_config(config)
    return {spec.name: spec.shape for spec in inputs.inputs_of(model, task, size)}


def test_inputs_are_those_of_the_forward_and_the_configuration() -> None:
    text = ("batch", "sequence")
    assert shapes("bert") == dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), text)
    assert shapes("deberta") == dict.fromkeys(("input_ids", "attention_mask"), text)  # no types
    assert shapes("bert-choice")["input_ids"] == ("batch", "choices", "sequence")
    assert shapes("bart")["decoder_input_ids"] == ("batch", "decoder_sequence")
    assert shapes("t5-encoder") == dict.fromkeys(("input_ids", "attention_mask"), text)
    assert shapes("vit") == {"pixel_values": ("batch", 3, 32, 32)}
    assert shapes("vit", size=(48, 32)) == {"pixel_values": ("batch", 3, 48, 32)}
    assert shapes("yolos") == {"pixel_values": ("batch", 3, 32, 48)}
    assert shapes("clip")["pixel_values"] == ("images", 3, 32, 32)
    assert shapes("clip")["input_ids"] == ("texts", "sequence")
    assert shapes("wav2vec2") == {"input_values": ("batch", "samples")}
    assert shapes("audio-spectrogram-transformer") == {"input_values": ("batch", 64, 32)}
    assert shapes("whisper") == {
        "input_features": ("batch", 16, 40),
        "decoder_input_ids": ("batch", "decoder_sequence"),
    }


def test_values_stay_within_the_vocabulary_and_lengths_within_the_positions() -> None:
    config = configuration("roberta")
    config.max_position_embeddings = 20
    with torch.device("meta"):
        model = tasks.TASKS["text-classification"].builder(config).from_config(config)
    ids, mask, *_ = inputs.inputs_of(model, "text-classification", None)
    assert (ids.domain.low, ids.domain.high, mask.domain.mask) == (0, 99, True)
    assert ids.sizes["sequence"] == (16, 1, 18)  # two positions come before the first token


def test_a_given_size_applies_to_every_input_with_that_dimension() -> None:
    config = configuration("bert")
    with torch.device("meta"):
        model = tasks.TASKS["feature-extraction"].builder(config).from_config(config)
    specs = inputs.inputs_of(model, "feature-extraction", None)
    sized = inputs.given(specs, (InputShape("input_ids", (1, 24), "int32"),))
    assert [(spec.shape, spec.dtype, dict(spec.sizes)) for spec in sized] == [
        (("batch", 24), "int32", {}),
        (("batch", 24), "int64", {}),
        (("batch", 24), "int64", {}),
    ]
    for shape, message in ((InputShape("ids", (1, 2)), "names the input 'ids'"), (InputShape("", (2,)), "no input"),
                           (InputShape("input_ids", (1, 2, 3)), "3 dimensions")):  # fmt: skip
        with pytest.raises(OptionError, match=message):
            inputs.given(specs, (shape,))


def test_an_image_has_the_size_that_is_asked_for(saved: Callable[..., Path], workdir: Path) -> None:
    copied(saved("resnet"), "net")
    source = loaded("./net", input_shape=(InputShape("", (3, 64, 96)),))
    assert [spec.shape for spec in source.inputs] == [("batch", 3, 64, 96)]
    source = loaded("./net", dynamic={"": {2: "height", 3: "width"}})
    assert [spec.shape for spec in source.inputs] == [("batch", 3, "height", "width")]


# Images are prepared as transformers does it.


@pytest.mark.parametrize(
    ("processor", "settings"),
    [
        ("CLIPImageProcessor", {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 64}, "crop_pct": 0.875, "resample": 3}),
        ("BitImageProcessor", {"size": {"shortest_edge": 48}, "crop_size": {"height": 40, "width": 32}, "resample": 2}),
    ],
)
def test_a_client_prepares_an_image_as_the_processor_does(
    tmp_path: Path, processor: str, settings: dict[str, Any]
) -> None:
    from PIL import Image

    getattr(transformers, processor)(**settings).save_pretrained(tmp_path)
    picture = np.random.default_rng(0).integers(0, 255, (70, 90, 3), "uint8")
    # Of an even number of pixels around the centre: of odd ones, two libraries cut out another one.
    Image.fromarray(picture).resize((240, 160), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    preprocess, problem = images.preprocess(images.processor(tmp_path))
    assert preprocess, problem
    own = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    with Image.open(tmp_path / "photo.png") as photo:
        wanted = np.asarray(own(photo, return_tensors="np")["pixel_values"])
    ours = load_image(tmp_path / "photo.png", preprocess)
    assert ours.shape == wanted.shape
    assert np.abs(ours - wanted).max() < 0.05  # two libraries' resampling, one step of 255 apart


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"size": {"height": 32, "width": 32}}, "does not resize the shorter side and cut out the centre"),
        (
            {"size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": 32, "do_flip_channel_order": True},
            "BGR",
        ),
        ({"size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": 32, "rescale_factor": 2 / 255}, "scales"),
    ],
)
def test_a_note_says_what_clients_cannot_do(settings: dict[str, Any], reason: str) -> None:
    described = {"do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, **settings}
    preprocess, note = images.preprocess(described)
    assert preprocess is None
    assert reason in note
    assert images.size_of(described) == (32, 32)


def test_an_invalid_processor_is_refused(tmp_path: Path) -> None:
    for broken in ({"image_mean": 0.5}, {"size": {"height": "tall", "width": 3}}, {"resample": [2]}):
        described = {"do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, **broken}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(described))
        with pytest.raises(SourceError, match="does not say how an image is prepared"):
            images.processor(tmp_path)


# Weights.


def test_weights_in_parts_and_as_a_pickle_are_the_same_model(saved: Callable[..., Path], workdir: Path) -> None:
    folder = copied(saved("distilbert"), "whole")
    whole = answers(loaded("./whole"))["logits"]
    model = tasks.TASKS["text-classification"].builder(configuration("distilbert")).from_pretrained(folder)
    model.save_pretrained("parts", max_shard_size="20KB")
    assert len(list(Path("parts").glob("*.safetensors"))) > 1
    copied(saved("distilbert"), "pickled", only="*.json")
    torch.save(model.state_dict(), "pickled/pytorch_model.bin")
    for name in ("parts", "pickled"):
        source = loaded(f"./{name}")
        assert not source.weights.untrained
        np.testing.assert_array_equal(answers(source)["logits"], whole)


def test_random_weights_need_no_file_and_are_seeded(saved: Callable[..., Path], workdir: Path) -> None:
    copied(saved("distilbert"), "net", only="*.json")
    first, again, other = (loaded("./net", weights="random", seed=seed) for seed in (1, 1, 2))
    assert first.weights.untrained
    np.testing.assert_array_equal(answers(first)["logits"], answers(again)["logits"])
    assert not np.array_equal(answers(first)["logits"], answers(other)["logits"])


def test_weights_of_half_precision_are_served_in_float32(saved: Callable[..., Path], workdir: Path) -> None:
    model = tasks.TASKS["text-classification"].builder(configuration("distilbert"))
    model.from_pretrained(saved("distilbert")).to(torch.bfloat16).save_pretrained("half")
    assert json.loads(Path("half/config.json").read_text())["dtype"] == "bfloat16"
    source = loaded("./half")
    assert {parameter.dtype for parameter in source.native.parameters()} == {torch.float32}


def test_an_output_of_a_layer_without_weights_is_left_out(saved: Callable[..., Path], workdir: Path) -> None:
    config = configuration("bert")
    tasks.TASKS["fill-mask"].builder(config).from_config(config).save_pretrained("masked")
    source = loaded("./masked", task="feature-extraction")
    assert source.output_names == ("last_hidden_state",)
    assert source.notes == ("pooler_output is left out: its layer has no weights",)


def test_unused_weights_are_reported(saved: Callable[..., Path], workdir: Path) -> None:
    copied(saved("distilbert"), "net")
    (note,) = loaded("./net", task="token-classification").notes
    assert note == (
        "2 of its weights are not used, pre_classifier.bias among them: it was trained as "
        "DistilBertForSequenceClassification"
    )
    assert not loaded("./net", task="feature-extraction").notes


def test_missing_weights_may_become_random_ones_with_a_warning(saved: Callable[..., Path], workdir: Path) -> None:
    copied(saved("distilbert"), "net", only="*.json")
    _, options = resolve({"model": "hf:./net", "allow_untrained": True}, ConfigFile(), "hf:./net")
    progress = Progress()
    assert hf.load("./net", options, progress).weights.untrained
    (warning,) = progress.warnings
    assert "hf:net gets RANDOM weights (seed 0)" in warning


# Code.

OWN_CODE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel


class OwnConfig(PretrainedConfig):
    model_type = "own"
    def __init__(self, vocab_size=100, width=8, **more):
        self.vocab_size, self.width = vocab_size, width
        super().__init__(**more)


class OwnModel(PreTrainedModel):
    config_class = OwnConfig
    def __init__(self, config):
        super().__init__(config)
        self.words = torch.nn.Embedding(config.vocab_size, config.width)
        self.post_init()

    def forward(self, input_ids, attention_mask=None):
        embedded = self.words(input_ids) * attention_mask[..., None]
        return {"sentence": embedded.sum(1) / attention_mask.sum(1, keepdim=True)}
"""
OWN_CONFIG = {
    "model_type": "own",
    "architectures": ["OwnModel"],
    "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"},
}


def own_model(name: str, code: str = OWN_CODE) -> Path:
    folder = Path(name)
    folder.mkdir()
    (folder / "own.py").write_text(code)
    (folder / "config.json").write_text(json.dumps(OWN_CONFIG))
    return folder


def test_code_of_a_model_runs_only_if_it_is_trusted(
    generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(workdir / "modules"))
    folder = own_model("own", f"open({str(workdir / 'ran')!r}, 'w').close()\n{OWN_CODE}")
    arguments = ("--model", "hf:./own", "--weights", "random", *QUICK_EXPORT, "--json")
    refused = generate(*arguments)
    assert refused.code == 3
    assert "--trust-source" in refused.err
    assert not Path("ran").exists()
    outcome = generate(*arguments, "--trust-source")
    assert outcome.code == 0, outcome.err
    assert Path("ran").exists()
    assert [tensor.name for tensor in configuration_of("own").output] == ["sentence"]
    (folder / "own.py").write_text(OWN_CODE.replace("embedded.sum(1)", "embedded.sum(1) * 2"))
    assert generate(*arguments, "--trust-source").result["version"] == 2


class Marker:
    """A pickle of it creates a file when it is loaded."""

    def __reduce__(self) -> Any:
        return open, ("ran", "w")


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Marker()}, folder / "pytorch_model.bin")


def pickled_plainly(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Marker()}))


# Bad input.


def truncated(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def in_parts(*names: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "model-1.safetensors")
        weights = {f"weight{number}": name for number, name in enumerate(names)}
        (folder / folders.SAFE_INDEX).write_text(json.dumps({"weight_map": weights}))

    return damage


def removed(*names: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return damage


def configured(**changed: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "config.json", **changed)


def written(name: str, text: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_text(text)

    return damage


def made_a_folder(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()


def renamed(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps([1]))


# name of the golden message: what is done to the folder `net`, further arguments, the exit code.
CASES: dict[str, tuple[Callable[[Path], object], str, int]] = {
    "no-config": (removed("config.json"), "", 3),
    "config-broken": (written("config.json", "{"), "", 3),
    "config-a-list": (written("config.json", "[]"), "", 3),
    "type-a-list": (configured(model_type=["distilbert"]), "", 3),
    "class-a-number": (configured(architectures=[3]), "", 3),
    "config-refused": (configured(n_heads=5), "", 3),
    "no-weights": (removed("model.safetensors"), "", 3),
    "unknown-type": (configured(model_type="snapbert"), "", 3),
    "weights-a-folder": (made_a_folder, "", 3),
    "truncated": (truncated, "", 3),
    "renamed": (renamed, "", 3),
    "part-missing": (in_parts("model-1.safetensors", "model-2.safetensors"), "", 3),
    "part-escapes": (in_parts("model-1.safetensors", "../model-2.safetensors"), "", 3),
    "part-absolute": (in_parts("/etc/hostname"), "", 3),
    "index-broken": (lambda folder: (in_parts()(folder), written(folders.SAFE_INDEX, "{}")(folder)), "", 3),
    "pickle-with-code": (pickled, "", 3),
    "pickle-plain": (pickled_plainly, "", 3),
    "adapter": (lambda folder: (folder / "config.json").rename(folder / "adapter_config.json"), "", 3),
    "own-code": (configured(auto_map={"AutoModel": "own.OwnModel"}), "", 3),
    "quantized": (configured(quantization_config={"quant_method": "gptq", "bits": 4}), "", 3),
    "other-width": (configured(dim=64), "", 3),
    "other-task": (configured(), "--task question-answering", 3),
    "impossible-task": (configured(), "--task image-classification", 3),
    "unknown-task": (configured(), "--task text-clasification", 2),
    "no-task": (configured(architectures=["DistilBertForPoetry"]), "", 3),
    "weights-path": (configured(), "--weights net/model.safetensors", 2),
    "input-name": (configured(), "--input-shape ids=1x8", 2),
    "input-type": (configured(), "--input-shape input_ids=1x8:float32", 3),
    "dynamic-name": (configured(), "--dynamic ids:0=batch", 2),
    "signature": (configured(), "--signature serve", 2),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_folder_gets_one_line_and_changes_nothing(
    generate: Generate, saved: Callable[..., Path], workdir: Path, golden: Callable[[str, str], None], case: str
) -> None:
    damage, arguments, code = CASES[case]
    damage(copied(saved("distilbert"), "net"))
    before = snapshot(workdir)
    outcome = generate("--model", "hf:./net", *arguments.split(), "--quiet")
    assert outcome.err.count("\n") == 1, outcome.err
    assert snapshot(workdir) == before
    golden(f"messages/hf/{case}.txt", outcome.err.replace(transformers.__version__, "5.0.0"))
    assert outcome.code == code


@pytest.mark.parametrize("name", ["nowhere", "./nowhere", "a/b/c", "file.bin", "../ORG", "~nobody/x"])
def test_a_name_without_a_model_is_reported(
    generate: Generate, workdir: Path, golden: Callable[[str, str], None], name: str
) -> None:
    (workdir / "file.bin").write_bytes(b"weights")
    outcome = generate("--model", f"hf:{name}", "--quiet")
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.code == 3
    golden(f"messages/hf/name-{name.replace('/', '_')}.txt", outcome.err.replace(str(workdir), "/work"))


def test_a_model_that_is_not_cached_is_reported_offline(generate: Generate, workdir: Path) -> None:
    outcome = generate("--model", "hf:acme/words", "--quiet")
    assert (outcome.code, outcome.err.count("\n")) == (3, 1)
    assert outcome.err.startswith(
        f"error: acme/words is not complete in the hub's cache {workdir / 'hub'}, and can't be"
    )
    assert "offline mode is enabled" in outcome.err


def test_a_model_that_does_not_fit_into_memory_is_refused_before_it_is_read(
    generate: Generate, saved: Callable[..., Path], workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(saved("distilbert"), "net")
    monkeypatch.setattr("modelrepo.generator.system.memory.available", lambda: 1000)
    outcome = generate("--model", "hf:./net")
    assert outcome.code == 3
    assert "of weights, which takes about" in outcome.err


def test_without_transformers_the_extra_is_named(
    generate: Generate, saved: Callable[..., Path], workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(saved("distilbert"), "net")
    monkeypatch.setitem(sys.modules, "transformers", None)
    outcome = generate("--model", "hf:./net")
    assert (outcome.code, "pip install 'modelrepo[hf]'" in outcome.err) == (3, True)


# The hub.


def cached(folder: Path, name: str, commit: str = "c0ffee", reference: bool = True) -> Path:
    """Lay out a folder as huggingface_hub does: a snapshot of links to blobs."""
    model = hub.cache() / f"models--{name.replace('/', '--')}"
    snapshot_folder = model / "snapshots" / commit
    for part in (snapshot_folder, model / "blobs", model / "refs"):
        part.mkdir(parents=True)
    if reference:
        (model / "refs" / "main").write_text(commit)
    for file in folder.iterdir():
        blob = model / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        blob.write_bytes(file.read_bytes())
        (snapshot_folder / file.name).symlink_to(f"../../blobs/{blob.name}")
    return snapshot_folder


def test_a_model_in_the_hubs_cache_needs_no_network(generate: Generate, saved: Callable[..., Path]) -> None:
    cached(saved("distilbert"), "acme/words")
    assert sources.SOURCES["hf"].known() == ("acme/words",)
    outcome = generate("--model", "hf:acme/words", *QUICK_EXPORT, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.result["name"] == "words"
    (manifest,) = Repository(Path("model_repository")).manifests("words")
    assert (manifest.provenance.source.weights.kind, manifest.provenance.source.weights.detail) == (
        "pretrained",
        "commit c0ffee",
    )
    published = Path("model_repository/words/1/processor/tokenizer.json")
    assert published.is_file()
    assert not published.is_symlink()
    assert generate("--model", "hf:acme/words", *QUICK_EXPORT, "--json").result["status"] == "unchanged"


def test_a_model_that_was_downloaded_is_unchanged_when_it_is_generated_again(
    generate: Generate, saved: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(hub, "fetched", lambda name, **more: cached(saved("distilbert"), name))
        assert generate("--model", "hf:acme/words", *QUICK_EXPORT, "--json").result["status"] == "published"
    outcome = generate("--model", "hf:acme/words", *QUICK_EXPORT, "--json")
    assert outcome.result["status"] == "unchanged"
    assert "loading" not in outcome.err


def test_the_files_of_a_snapshot_are_known_without_a_framework(saved: Callable[..., Path], workdir: Path) -> None:
    snapshot_folder = cached(saved("distilbert"), "acme/words", reference=False)
    (snapshot_folder / "training_args.bin").write_bytes(b"")
    script = (
        f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n"
        "from modelrepo.generator.sources import hf\n"
        "print(sorted(file.name for file in hf.files('acme/words')))\n"
        "heavy = {'torch', 'transformers', 'huggingface_hub', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']"
    assert hf.files("acme/other") == ()


def test_a_path_in_a_configuration_file_is_relative_to_it(generate: Generate, saved: Callable[..., Path]) -> None:
    copied(saved("distilbert"), "conf/net")
    Path("conf/m.toml").write_text("[models.mine]\nmodel = 'hf:./net'\nweights = 'random'\n")
    outcome = generate("--config", "conf/m.toml", "--dry-run", "--json", "-q")
    assert (outcome.code, outcome.result["name"]) == (0, "mine"), outcome.err


class Hub(BaseHTTPRequestHandler):
    """The part of huggingface.co that a download needs: the list of files, and each file."""

    folder: Path
    asked: list[str]
    commit = "c0ffee" + 34 * "0"

    def do_HEAD(self) -> None:
        self.do_GET(body=False)

    def do_GET(self, body: bool = True) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(f"{self.command} {path}")
        if not path.startswith(("/api/models/acme/words", "/acme/words/")):
            return self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body)
        if path.startswith("/api/"):
            files = [{"rfilename": file.name} for file in sorted(self.folder.iterdir())]
            document = {"id": "acme/words", "sha": self.commit, "siblings": [*files, {"rfilename": "onnx/model.onnx"}]}
            tree = [{"type": "file", "path": file.name, "size": file.stat().st_size, "oid": "0" * 40}
                    for file in sorted(self.folder.iterdir())]  # fmt: skip
            answer: Any = tree if "/tree/" in path else document
            return self._answer(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, body)
        content = (self.folder / path.rpartition("/")[2]).read_bytes()
        tag = hashlib.sha256(content).hexdigest()
        return self._answer(200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": self.commit}, body)

    def _answer(self, code: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Served", (Hub,), {"folder": folder, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def asked_of_the_hub(endpoint: str, name: str, workdir: Path) -> subprocess.CompletedProcess[str]:
    """Fetch a model in a separate process: huggingface_hub reads its settings when it is imported.

    It tries for half a minute, with growing pauses; here it makes none.
    """
    script = (
        f"import sys, time; sys.path.insert(0, {str(PROJECT)!r})\n"
        "time.sleep = lambda seconds: None\n"
        "from modelrepo.generator.errors import ModelRepoError\n"
        "from modelrepo.generator.sources.hf import hub\n"
        f"try:\n    print(hub.fetched({name!r}, weights=True, code=False))\n"
        "except ModelRepoError as error:\n    print(error)\n"
    )
    settings = {"HF_ENDPOINT": endpoint, "HF_HUB_CACHE": str(workdir / "hub"), "HF_HUB_OFFLINE": "0"}
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**environment, **settings}, cwd=workdir
    )


def test_a_model_is_downloaded_once_without_unneeded_files(saved: Callable[..., Path], workdir: Path) -> None:
    folder = copied(saved("distilbert"), "remote")
    (folder / "pytorch_model.bin").write_bytes(b"the same again")
    (folder / "modeling_own.py").write_text("code")
    with served(folder) as (endpoint, asked):
        first = asked_of_the_hub(endpoint, "acme/words", workdir)
        fetched = Path(first.stdout.strip())
        assert fetched.is_dir(), first.stdout + first.stderr
        assert {file.name for file in fetched.iterdir()} == {
            *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
        }
        asked.clear()
        assert asked_of_the_hub(endpoint, "acme/words", workdir).stdout == first.stdout
        assert not asked
        missing = asked_of_the_hub(endpoint, "acme/nothing", workdir)
    assert "the hub has no model acme/nothing" in missing.stdout, missing.stderr


def test_an_unreachable_hub_is_reported_with_the_places_searched(workdir: Path) -> None:
    run = asked_of_the_hub("http://127.0.0.1:9", "acme/words", workdir)
    assert run.stdout.count("\n") == 1, run.stdout + run.stderr
    assert f"acme/words is not complete in the hub's cache {workdir / 'hub'}" in run.stdout
    assert "hf:./FOLDER" in run.stdout


def test_a_source_error_names_no_more_than_one_line() -> None:
    error = hub._unavailable("acme/words", RuntimeError("first.\nsecond"))
    assert isinstance(error, SourceError)
    assert "\n" not in str(error)
