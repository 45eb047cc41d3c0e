"""Folders of sentence-transformers: their modules are served with the transformer, or refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from modelrepo.generator.errors import SourceError
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.resolve import resolve
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import hf
from modelrepo.generator.sources.hf import hub, sentences
from modelrepo.generator.specs.source import SourceModel
from tests.conftest import QUICK_EXPORT, Generate
from tests.generator.sources.test_hf import configuration_of

Save = Callable[..., Path]
SIZE = 8
IDS = np.array([[2, 6, 7, 8, 3], [2, 9, 3, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
MEAN = {"pooling_mode_mean_tokens": True}


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one layer with a tokenizer of letters."""
    folder = tmp_path_factory.mktemp("sentences")
    torch.manual_seed(0)
    transformers.BertModel(
        transformers.BertConfig(
            vocab_size=31, hidden_size=SIZE, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            max_position_embeddings=64,
        )
    ).save_pretrained(folder)  # fmt: skip
    (folder / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(chr, range(97, 123))])
    )
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture
def save(bert: Path, workdir: Path) -> Save:
    """Write a folder with modules: pairs of a type and its settings, and weights for those that have some."""

    def written(*modules: tuple[str, dict[str, Any]], at: str = "", name: str = "st", **weights: Any) -> Path:
        folder = Path(name)
        (folder / at).mkdir(parents=True)
        for file in bert.iterdir():
            (folder / at / file.name).write_bytes(file.read_bytes())
        listed = [{"idx": 0, "name": "0", "path": at, "type": "sentence_transformers.models.Transformer"}]
        for number, (kind, settings) in enumerate(modules, 1):
            path = f"{number}_{kind.rpartition('.')[2]}"
            named = kind if "." in kind else f"sentence_transformers.models.{kind}"
            listed.append({"idx": number, "name": str(number), "path": path, "type": named})
            if settings:
                (folder / path).mkdir()
                (folder / path / "config.json").write_text(json.dumps(settings))
            if kind in weights:
                torch.save(weights[kind], folder / path / "pytorch_model.bin")
        (folder / "modules.json").write_text(json.dumps(listed))
        return folder

    return written


def loaded(folder: Path, **flags: Any) -> SourceModel:
    reference = f"hf:./{folder}"
    _, options = resolve({"model": reference, **flags}, ConfigFile(), reference)
    return hf.load(f"./{folder}", options, Progress())


def embedded(folder: Path, **inputs: Any) -> Any:
    arrays = {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": np.zeros_like(IDS), **inputs}
    return loaded(folder).run(arrays)["sentence_embedding"]


def tokens(bert: Path, mask: Any = MASK) -> Any:
    """Return the transformer's own answer."""
    model = transformers.BertModel.from_pretrained(bert).eval()
    with torch.inference_mode():
        answer = model(input_ids=torch.tensor(IDS), attention_mask=torch.tensor(mask))
    return answer.last_hidden_state.numpy()


def unit(values: Any) -> Any:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def weighted(values: Any, weights: Any) -> Any:
    return (values * weights[..., np.newaxis]).sum(1) / weights.sum(1, keepdims=True)


# By sentence-transformers' names of the modes, what they make of token embeddings.
POOLED: dict[str, Callable[[Any], Any]] = {
    "cls": lambda each: each[:, 0],
    "max": lambda each: np.stack([each[0].max(0), each[1, :3].max(0)]),
    "mean": lambda each: weighted(each, MASK),
    "mean_sqrt_len_tokens": lambda each: weighted(each, MASK) * np.sqrt(MASK.sum(1, keepdims=True)),
    "weightedmean": lambda each: weighted(each, MASK * np.arange(1, 6)),
    "lasttoken": lambda each: np.stack([each[0, 4], each[1, 2]]),
}
OLDER = {mode: key for key, mode in sentences.OLDER_MODES.items()}


@pytest.mark.parametrize("mode", POOLED)
@pytest.mark.parametrize("newer", [True, False])
def test_each_pooling_mode_is_served(save: Save, bert: Path, mode: str, newer: bool) -> None:
    folder = save(("Pooling", {"pooling_mode": mode} if newer else {OLDER[mode]: True}))
    np.testing.assert_allclose(embedded(folder), POOLED[mode](tokens(bert)), rtol=1e-4, atol=1e-6)


def test_several_modes_are_joined_in_the_librarys_order(save: Save, bert: Path) -> None:
    folder = save(("Pooling", dict.fromkeys(reversed(OLDER.values()), True)), ("Normalize", {}))
    wanted = unit(np.concatenate([pool(tokens(bert)) for pool in POOLED.values()], axis=1))
    np.testing.assert_allclose(embedded(folder), wanted, rtol=1e-4, atol=1e-6)


def test_padding_on_the_left_is_pooled_like_that_on_the_right(save: Save, bert: Path) -> None:
    mask = MASK[:, ::-1].copy()
    each = tokens(bert, mask)
    wanted = {
        "cls": np.stack([each[0, 0], each[1, 2]]),
        "lasttoken": each[:, 4],
        "weightedmean": weighted(each, np.array([[1, 2, 3, 4, 5], [0, 0, 1, 2, 3]])),
    }
    folder = save(("Pooling", {"pooling_mode": list(wanted)}))
    found = embedded(folder, attention_mask=mask)
    np.testing.assert_allclose(found, np.concatenate([*wanted.values()], axis=1), rtol=1e-4, atol=1e-6)


def test_the_tokens_of_a_prompt_are_left_out_of_pooling(save: Save, bert: Path) -> None:
    folder = save(("Pooling", {**MEAN, "include_prompt": False}))
    counts = np.array([[2], [0]])
    wanted = weighted(tokens(bert), np.array([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]]))
    np.testing.assert_allclose(embedded(folder, prompt_length=counts), wanted, rtol=1e-4, atol=1e-6)
    assert any("prompt_length is the number of tokens" in note for note in loaded(folder).notes)


def test_dense_layers_and_norms_have_their_weights(save: Save, bert: Path) -> None:
    random = np.random.default_rng(0)
    matrix, bias, residual, scale = (
        random.normal(size=size).astype(np.float32) for size in ((4, SIZE), 4, (4, SIZE), 4)
    )
    folder = save(
        ("Pooling", MEAN),
        ("Dense", {"in_features": SIZE, "out_features": 4, "use_residual": True}),
        ("LayerNorm", {"dimension": 4}),
        ("Dropout", {"dropout": 0.5}),
        ("Normalize", {}),
        Dense={"linear.weight": torch.tensor(matrix), "linear.bias": torch.tensor(bias),
               "residual.weight": torch.tensor(residual)},
        LayerNorm={"norm.weight": torch.tensor(scale), "norm.bias": torch.zeros(4)},
    )  # fmt: skip
    pooled = weighted(tokens(bert), MASK)
    dense = np.tanh(pooled @ matrix.T + bias) + pooled @ residual.T
    normed = (dense - dense.mean(1, keepdims=True)) / np.sqrt(dense.var(1, keepdims=True) + 1e-5) * scale
    np.testing.assert_allclose(embedded(folder), unit(normed), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("named", "function"), [("activation.ReLU", lambda x: np.maximum(x, 0)),
                                                 ("linear.Identity", lambda x: x)])  # fmt: skip
def test_a_dense_layer_of_tokens_has_the_activation_that_is_named(
    save: Save, bert: Path, named: str, function: Callable[[Any], Any]
) -> None:
    matrix = np.eye(4, SIZE, dtype=np.float32)
    settings = {"in_features": SIZE, "out_features": 4, "bias": False, "module_input_name": "token_embeddings",
                "activation_function": f"torch.nn.modules.{named}"}  # fmt: skip
    folder = save(("Dense", settings), ("Pooling", MEAN), Dense={"linear.weight": torch.tensor(matrix)})
    wanted = weighted(function(tokens(bert)[..., :4]), MASK)
    np.testing.assert_allclose(embedded(folder), wanted, rtol=1e-4, atol=1e-5)


def test_a_transformer_in_a_folder_of_its_own_is_found(save: Save, bert: Path) -> None:
    folder = save(("Pooling", MEAN), at="0_Transformer")
    np.testing.assert_allclose(embedded(folder), weighted(tokens(bert), MASK), rtol=1e-4, atol=1e-6)
    counted = {str(file.relative_to(folder)) for file in hf.files(f"./{folder}")}
    assert counted >= {"modules.json", "1_Pooling/config.json", "0_Transformer/model.safetensors",
                       "0_Transformer/tokenizer.json"}  # fmt: skip
    assert {"processor/tokenizer.json", "processor/modules.json"} <= loaded(folder).companions.keys()


def test_lengths_stay_within_the_longest_text_and_notes_say_what_the_library_does(save: Save) -> None:
    folder = save(("Pooling", MEAN), ("Normalize", {}))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 24, "do_lower_case": false}')
    prompts = {"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    source = loaded(folder)
    assert source.inputs[0].sizes == {"sequence": (16, 1, 24)}
    assert source.notes == (
        "served with Pooling (mean) and Normalize, as sentence-transformers answers",
        "sentence-transformers cuts texts to 24 tokens (max_seq_length): cut them likewise",
        "sentence-transformers puts 'query: ' before every text (default_prompt_name): do likewise",
    )


def test_a_note_says_that_the_library_lower_cases_texts_which_the_tokenizer_does_not(save: Save) -> None:
    folder = save(("Pooling", MEAN))
    (folder / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    assert not any("do_lower_case" in note for note in loaded(folder).notes)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "do_lower_case": False}))
    assert any("in small letters (do_lower_case)" in note for note in loaded(folder).notes)


def test_the_inputs_are_those_that_the_tokenizer_gives(save: Save) -> None:
    folder = save(("Pooling", MEAN))
    path = folder / "tokenizer_config.json"
    settings = {**json.loads(path.read_text()), "model_input_names": ["input_ids", "attention_mask"]}
    path.write_text(json.dumps(settings))
    assert [spec.name for spec in loaded(folder).inputs] == ["input_ids", "attention_mask"]


def test_the_users_task_serves_the_transformer_alone_with_a_note(save: Save) -> None:
    folder = save(("Pooling", MEAN), ("custom.Magic", {}))
    source = loaded(folder, task="feature-extraction")
    assert "last_hidden_state" in source.output_names
    assert source.notes[-1] == (
        "--task feature-extraction serves the transformer alone, without Pooling and Magic of its modules.json"
    )


def test_an_embedding_is_published_under_the_librarys_name(generate: Generate, save: Save) -> None:
    save(("Pooling", {**MEAN, "pooling_mode_max_tokens": True}), ("Normalize", {}))
    outcome = generate("--model", "hf:./st", *QUICK_EXPORT, "--verify-effort", "quick", "--json")
    assert outcome.code == 0, outcome.err
    assert [(each.name, list(each.dims)) for each in configuration_of("st").output] == [("sentence_embedding", [16])]
    assert outcome.result["max_batch_size"] == 16


POOLING = ("Pooling", MEAN)
REFUSED: dict[str, tuple[tuple[tuple[str, dict[str, Any]], ...], str]] = {
    "a module of the library": ((POOLING, ("LSTM", {})), "the module sentence_transformers.models.LSTM"),
    "a module of its own": ((("custom_st.Pooling", {}),), "the module custom_st.Pooling"),
    "no pooling": ((("Normalize", {}),), "a modules.json with no Pooling"),
    "an unknown mode": ((("Pooling", {"pooling_mode": "magic"}),), "the pooling mode 'magic' is not supported"),
    "pooling without settings": ((("Pooling", {}),), "has no config.json"),
    "an activation of its own": (
        (POOLING, ("Dense", {"in_features": SIZE, "out_features": 2, "activation_function": "mine.Wave"})),
        "the activation function mine.Wave",
    ),
    "a layer without weights": ((POOLING, ("LayerNorm", {"dimension": SIZE})), "has no weights"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_dropped_is_refused_by_name(save: Save, case: str) -> None:
    modules, message = REFUSED[case]
    with pytest.raises(SourceError, match=message) as caught:
        loaded(save(*modules))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config_sentence_transformers.json", {"model_type": "SparseEncoder"}, "the model type SparseEncoder"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "the transformer_task fill-mask"),
        ("sentence_bert_config.json", {"modality_config": {"message": {}}}, "the modality_config"),
        ("sentence_bert_config.json", {"config_args": {"is_decoder": True}}, "the setting config_args is_decoder"),
        ("modules.json", [{"path": "../x", "type": "sentence_transformers.models.Transformer"}], "not in its folder"),
        ("modules.json", [{"name": "0"}], "lists no modules"),
        ("adapter_config.json", {}, "holds an adapter beside a model"),
    ],
)
def test_settings_that_change_the_answers_are_refused_by_name(
    save: Save, name: str, content: Any, message: str
) -> None:
    folder = save(POOLING)
    (folder / name).write_text(json.dumps(content))
    with pytest.raises(SourceError, match=message) as caught:
        loaded(folder)
    assert caught.value.hint


def test_a_list_without_a_transformer_is_refused_by_its_module(workdir: Path) -> None:
    Path("static").mkdir()
    listed = [{"path": "", "type": "sentence_transformers.models.StaticEmbedding"}]
    Path("static/modules.json").write_text(json.dumps(listed))
    with pytest.raises(SourceError, match="with the module sentence_transformers"):
        hf.files("./static")


def test_the_files_of_modules_are_downloaded() -> None:
    names = ["config.json", "modules.json", "model.safetensors", "pytorch_model.bin", "onnx/model.onnx", "README.md",
             "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/pytorch_model.bin", "0_Transformer/x.txt",
             "openvino/config.json"]  # fmt: skip
    assert hub._wanted(names, weights=True, code=False) == [
        *("config.json", "modules.json", "model.safetensors"),
        *("1_Pooling/config.json", "2_Dense/config.json", "2_Dense/pytorch_model.bin"),
    ]


def test_a_snapshot_without_the_files_of_its_modules_is_not_complete(save: Save) -> None:
    folder = save(POOLING)
    assert hub._whole(folder, weights=True)
    (folder / "1_Pooling" / "config.json").unlink()
    assert not hub._whole(folder, weights=True)
