"""A model that takes texts: its ensemble is planned, its tokenize step made, and the whole answers as transformers."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from modelrepo.generator.ensembles import published, text_step, texts
from modelrepo.generator.ensembles.config import recorded
from modelrepo.generator.errors import ConversionError, InputRefused
from modelrepo.generator.options.ensembles import read_ensemble
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.sources.hf import tokenizing
from modelrepo.generator.specs.tensors import TensorSpec
from modelrepo.generator.triton import pbtxt
from modelrepo.generator.verification.corpus import TEXTS
from tests import made_tokenizers
from tests.conftest import QUICK_EXPORT, Generate

TOKENS = tuple(TensorSpec(name, "int64", ("batch", "sequence")) for name in ("input_ids", "attention_mask"))


def config(batch: int = 8, size: int = 2, tokens: int = -1) -> Any:
    """The configuration of a model that takes tokens."""
    lead = "" if batch else "-1, "
    inputs = " ".join(
        f'input {{ name: "{spec.name}" data_type: TYPE_INT64 dims: [{lead}{tokens}] }}' for spec in TOKENS
    )
    output = f'output {{ name: "logits" data_type: TYPE_FP32 dims: [{lead}{size}] }}'
    return pbtxt.parse(f'name: "m" max_batch_size: {batch} {inputs} {output}', "it")


def member(kind: str, folder: Path, model: Any = None) -> Any:
    made_tokenizers.save(kind, folder)
    prepared = tokenizing.preparation(folder, "hf:x", TOKENS, None)
    return texts.made("x__tokenize", prepared, model or config(), folder / "step")


def bert(folder: Path, kind: str = "bert_uncased", head: str = "BertForSequenceClassification") -> Any:
    """Save a tiny BERT with a tokenizer, and return it."""
    tokenizer = made_tokenizers.save(kind, folder)
    torch.manual_seed(0)
    settings = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=128,
        initializer_range=0.5,
    )
    model = getattr(transformers, head)(settings).eval()
    model.save_pretrained(folder)
    return lambda given: model(**tokenizer(given, padding=True, truncation=True, return_tensors="pt"))


@pytest.mark.parametrize("head", ["BertForSequenceClassification", "BertForTokenClassification"])
def test_the_published_ensemble_answers_texts_as_transformers(
    tmp_path: Path, generate: Generate, workdir: Path, head: str
) -> None:
    source = bert(workdir / "net", head=head)
    asked = ("--verify-effort", "quick", "--live-check", "off", *QUICK_EXPORT)
    outcome = generate("--model", "hf:./net", "--with-preprocessing", *asked)
    assert outcome.code == 0, outcome.err
    whole = published.pinned(Repository(workdir / "model_repository"), "net")
    assert whole.input_kinds == {"text": "text"}
    assert whole.record is not None
    assert whole.record.provenance.source.input_kinds == {"text": "text"}
    assert "where --with-preprocessing makes it" in whole.record.config
    for batch in (list(TEXTS[:7]), ["", " "], ["x" * 5000, "short"]):
        answer = whole.reference({"text": np.array([[text.encode()] for text in batch], np.object_)})
        with torch.no_grad():
            wanted = source(batch).logits.numpy()
        np.testing.assert_allclose(answer["logits"], wanted, atol=1e-4)
    assert generate("--model", "hf:./net", "--with-preprocessing", *asked).out.count("unchanged") == 3


def test_a_model_of_pairs_is_refused_before_it_is_exported(generate: Generate, workdir: Path) -> None:
    bert(workdir / "net", head="BertForQuestionAnswering")
    outcome = generate("--model", "hf:./net", "--with-preprocessing", "--live-check", "off")
    assert outcome.code == 2
    assert "a BertForQuestionAnswering takes pairs of texts" in outcome.err
    assert not list(workdir.glob("model_repository/net*"))


def test_a_model_without_a_tokenizer_is_refused(generate: Generate, workdir: Path) -> None:
    bert(workdir / "net")
    for file in (workdir / "net").glob("tokenizer*"):
        file.unlink()
    outcome = generate("--model", "hf:./net", "--with-preprocessing", "--live-check", "off")
    assert outcome.code == 2
    assert "hf:net has no tokenizer that transformers can read" in outcome.err


def test_a_folder_of_a_tokenizer_is_named_relative_to_the_file(tmp_path: Path) -> None:
    steps = [{"name": "tokens", "use": "tokenizer:net"}, {"use": "m"}]
    spec = read_ensemble("whole", {"steps": steps}, tmp_path / "modelrepo.toml")
    assert spec.steps[0].use == f"tokenizer:{tmp_path / 'net'}"


def test_the_step_makes_the_inputs_of_its_model(tmp_path: Path) -> None:
    made = member("bert_uncased", tmp_path)
    assert [(each.name, *each.dims) for each in made.config.output] == [("input_ids", -1), ("attention_mask", -1)]
    assert [(each.name, *each.dims) for each in made.config.input] == [("text", 1)]
    assert made.config.max_batch_size == 8
    assert made.made.backend == "python"
    assert (tmp_path / "step" / "requirements.txt").read_text().startswith("tokenizers==")


def test_a_model_without_batches_has_a_step_without_batches(tmp_path: Path) -> None:
    made = member("bert_uncased", tmp_path, config(batch=0))
    assert made.config.max_batch_size == 0
    assert list(made.config.input[0].dims) == [-1, 1]
    assert list(made.config.output[0].dims) == [-1, -1]


def test_a_model_that_is_asked_alone_and_in_batches_gets_texts_of_one_length_if_its_answers_follow_it(
    tmp_path: Path,
) -> None:
    def lengths(made: Any) -> set[int]:
        asked = [{"text": np.array([[text]], np.object_)} for text in made.inputs[0].domain.choices]
        return {made.reference(each)["input_ids"].shape[1] for each in asked}

    assert len(lengths(member("bert_uncased", tmp_path, config(size=2)))) > 1
    assert len(lengths(member("bert_uncased", tmp_path, config(size=-1)))) == 1
    assert len(lengths(member("gpt2", tmp_path, config(size=2)))) == 1  # they can't be padded


def test_a_manifest_does_not_name_the_texts_that_were_asked(tmp_path: Path) -> None:
    made = member("bert_uncased", tmp_path)
    (told,) = recorded(made.inputs, made.input_kinds)
    assert made.inputs[0].domain.choices
    assert not told.domain.choices


def test_a_step_that_makes_other_tokens_is_refused(tmp_path: Path) -> None:
    member("bert_uncased", tmp_path)
    prepared = tokenizing.preparation(tmp_path, "hf:x", TOKENS, None)
    path = tmp_path / "step" / text_step.SETTINGS
    path.write_text(json.dumps({**json.loads(path.read_text()), "longest": 5}))
    with pytest.raises(ConversionError, match="makes other tokens of"):
        texts.prove(prepared, text_step.Tokens(tmp_path / "step"))


def test_what_the_step_refuses_its_reference_refuses(tmp_path: Path) -> None:
    made = member("gpt2", tmp_path)
    for bad in ([b"\xff"], [b"a", b"a longer text"], [b""]):
        given = {"text": np.array([[each] for each in bad], np.object_)}
        for answer in (made.reference, texts.published(tmp_path / "step")):
            with pytest.raises(InputRefused):
                answer(given)


def test_a_fixed_length_is_that_of_the_model(tmp_path: Path) -> None:
    made_tokenizers.save("bert_uncased", tmp_path)
    specs = tuple(replace(spec, shape=("batch", 12)) for spec in TOKENS)
    prepared = tokenizing.preparation(tmp_path, "hf:x", specs, None)
    made = texts.made("x__tokenize", prepared, config(tokens=12), tmp_path / "step")
    answer = made.reference({"text": np.array([["a"], ["a b c d e f g h i j k l m n o p"]], np.object_)})
    assert answer["input_ids"].shape == (2, 12)


class Tensor:
    """Triton's tensor, for a ``model.py`` outside of Triton."""

    def __init__(self, name: str, array: Any) -> None:
        self.name, self.array = name, array

    def as_numpy(self) -> Any:
        return self.array


def triton_module() -> Any:
    """Triton's module for Python models, as far as the step uses it."""
    return SimpleNamespace(
        Tensor=Tensor,
        TritonError=str,
        TritonModelException=RuntimeError,
        InferenceResponse=lambda tensors=(), error=None: error or {each.name: each.array for each in tensors},
        get_input_tensor_by_name=lambda request, name: request[name],
    )


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The step as Triton loads it."""
    made = member("bert_uncased", tmp_path)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", triton_module())
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "text_step", raising=False)
    spec = importlib.util.spec_from_file_location("served_step", tmp_path / "step" / "model.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.TritonPythonModel()
    model.initialize({"model_config": json.dumps({"output": [{"name": each.name} for each in made.config.output]})})
    yield model
    sys.modules.pop("text_step", None)


def test_the_served_step_answers_each_request_alone(served: Any) -> None:
    def request(*items: bytes) -> dict[str, Tensor]:
        return {"text": Tensor("text", np.array([[item] for item in items], np.object_))}

    good, bad, nul = served.execute([request(b"a", b"a b c"), request(b"\xff"), request(b"a\0b")])
    assert good["input_ids"].shape == (2, 5)
    assert list(good) == ["input_ids", "attention_mask"]
    assert bad == "step x__tokenize: text 1 of the request is not UTF-8: byte 0 can't be read"
    assert nul["input_ids"].shape[0] == 1


def test_a_server_without_the_package_says_what_to_install(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "text_step", None)
    with pytest.raises(RuntimeError, match=r"x__tokenize: .*; install requirements.txt beside it"):
        served.initialize({"model_config": '{"output": []}'})
