"""The modules beside a transformer, as sentence-transformers saves them: they make one embedding of those of tokens.

``read`` reads a folder without a framework; ``sentence_layers`` builds the modules.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from modelrepo.generator.errors import SourceError
from modelrepo.generator.sources.hf import folder as folders
from modelrepo.generator.specs.tensors import Domain, TensorSpec

MODULES, SETTINGS = "modules.json", "config_sentence_transformers.json"
CROSS_ENCODER = "CrossEncoder"
LIBRARY, TRANSFORMER, POOLING = "sentence_transformers.", "Transformer", "Pooling"
# The other modules of the library that a served model has, each with the settings that it can't do without.
LAYERS: Mapping[str, tuple[str, ...]] = {
    POOLING: (),
    "Dense": ("in_features", "out_features"),
    "LayerNorm": ("dimension",),
    "Normalize": (),
    "Dropout": (),  # which does nothing outside of training
}
WITH_CONFIG = (POOLING, "Dense", "LayerNorm")
# The names that the library gives its features.
TOKENS, EMBEDDING, PROMPT = "token_embeddings", "sentence_embedding", "prompt_length"
# The files of a transformer's settings, in the library's order (its Transformer.load_config).
OF_A_TRANSFORMER = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
# How the library calls a transformer that gives token embeddings (its TRANSFORMER_TASK_DEFAULTS).
PLAIN = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
# Settings of a transformer that have no effect on its answers to tokens, within model_args and config_args.
HARMLESS = {"torch_dtype", "dtype", "attn_implementation", "device_map", "add_pooling_layer", "trust_remote_code"}
# Settings that would change the answers, if they are not empty.
CHANGING = ("query_expansion", "query_length", "document_length")
# The pooling modes in the order in which their answers are joined, by the older keys that ask for them.
OLDER_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# Types of models of which the library takes the encoder alone (its _ENCODER_ONLY_MODELS).
ENCODERS = (
    *("t5", "mt5", "umt5", "longt5", "switch_transformers", "pegasus", "pegasus_x", "blenderbot", "blenderbot-small"),
    *("m2m_100", "marian"),
)
# The tasks of a folder's sentence embeddings; any other is of the transformer alone.
TASKS = ("", "sentence-similarity")
ALONE = "Serve its transformer alone with --task feature-extraction, or the whole from Python: python:MODULE:FACTORY"
# Tokenizers without a limit have an astronomical one.
ANY_LENGTH = 1e6
# The most tokens of a prompt that are tested.
PROMPT_TOKENS = 3


@dataclass(frozen=True)
class Layer:
    """One module after the transformer: its kind, the folder of its weights, and its settings."""

    kind: str
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def modes(self) -> tuple[str, ...]:
        """The pooling modes, by the library's rules for its newer and older keys."""
        named = self.settings.get("pooling_mode")
        if named is None:
            return tuple(mode for key, mode in OLDER_MODES.items() if self.settings.get(key)) or ("mean",)
        return (named,) if isinstance(named, str) else tuple(named)

    def __str__(self) -> str:
        return f"{self.kind} ({', '.join(self.modes)})" if self.kind == POOLING else self.kind


@dataclass(frozen=True)
class Sentences:
    """The modules of a folder: the ``layers`` after the transformer in ``home``, and the library's settings."""

    home: Path
    encoder: bool  # of an encoder and a decoder, the transformer is the encoder alone
    layers: tuple[Layer, ...]
    settings: Mapping[str, Any]  # of the transformer
    prompts: Mapping[str, Any]  # the settings of the texts

    @property
    def excludes_prompts(self) -> bool:
        """Whether the tokens of a prompt are not pooled, so that their number is an input."""
        return any(layer.kind == POOLING and not layer.settings.get("include_prompt", True) for layer in self.layers)

    @property
    def longest(self) -> int | None:
        """The number of tokens that the library cuts texts to; None if the model alone limits it."""
        # Where newer releases keep it.
        own = folders.document(self.home / "tokenizer_config.json").get("model_max_length")
        asked = self.settings.get("max_seq_length") or own
        return int(asked) if isinstance(asked, int | float) and 0 < asked < ANY_LENGTH else None

    def inputs(self, own: Sequence[TensorSpec], given: Sequence[str]) -> tuple[TensorSpec, ...]:
        """Return the inputs of the whole: those of a transformer that its tokenizer gives, within the longest text.

        ``given`` are the names that the tokenizer gives; empty if there is none. A mask is pooled with, even if the
        transformer has none.
        """
        specs = [spec for spec in own if not given or spec.name in given]
        if "attention_mask" in given and not any(spec.name == "attention_mask" for spec in specs):
            specs.append(replace(specs[0], name="attention_mask", domain=Domain(0, 1, mask=True)))
        specs = [replace(spec, sizes={dim: self._within(sizes) for dim, sizes in spec.sizes.items()}) for spec in specs]
        if self.excludes_prompts:
            shape = (specs[0].shape[0], 1)
            specs.append(TensorSpec(PROMPT, "int64", shape, Domain(0, PROMPT_TOKENS, known=False)))
        return tuple(specs)

    def _within(self, sizes: Sequence[int]) -> tuple[int, ...]:
        longest = self.longest
        return tuple(dict.fromkeys(min(size, longest) if longest else size for size in sizes))

    def notes(self, keeps_case: bool) -> Iterator[str]:
        """Yield what the user should know: the modules that are served, and what the library does with texts before.

        ``keeps_case``: the tokenizer tells capitals from small letters.
        """
        yield f"served with {_joined(self.layers)}, as sentence-transformers answers"
        if self.longest:
            yield f"sentence-transformers cuts texts to {self.longest} tokens (max_seq_length): cut them likewise"
        if self.settings.get("do_lower_case") and keeps_case:
            yield "sentence-transformers writes texts in small letters (do_lower_case): do likewise"
        named = {name: text for name, text in (self.prompts.get("prompts") or {}).items() if text}
        default = self.prompts.get("default_prompt_name")
        if default in named:
            yield f"sentence-transformers puts {named[default]!r} before every text (default_prompt_name): do likewise"
        elif named:
            told = ", ".join(f"{name}: {text!r}" for name, text in named.items())
            yield f"it was trained with prompts before texts ({told}): put them there"
        if self.excludes_prompts:
            yield f"{PROMPT} is the number of tokens of a text's prompt, with those before it; 0 if it has none"
        for key in ("processing_kwargs", "processor_kwargs", "tokenizer_args"):
            if self.settings.get(key):
                yield f"its tokenizer is called with {key} {json.dumps(self.settings[key])}: call it likewise"


def home(folder: Path) -> Path:
    """Return the folder of the transformer itself; SourceError for a broken list of modules, or one without any."""
    listed = _listed(folder)
    own = next((_place(folder, each) for each in listed if _kind(each) == TRANSFORMER), folder)
    if listed and own == folder and not (folder / folders.CONFIG).is_file():
        raise _unsupported(folder, f"the module {listed[0]['type']}")
    return own


def files(folder: Path) -> tuple[Path, ...]:
    """Return the files of the modules after the transformer, with the list itself."""
    listed = _listed(folder)
    places = [_place(folder, each) for each in listed if _kind(each) != TRANSFORMER]
    kinds = ("*.json", "*.safetensors", "*.bin")
    own = [
        file for place in places if place.is_dir() and place != folder for kind in kinds for file in place.glob(kind)
    ]
    return tuple(sorted(dict.fromkeys([*([folder / MODULES] if listed else []), *own])))


def complete(folder: Path, weights: bool) -> bool:
    """Whether the modules have their files, and their ``weights``: an interrupted download leaves only some."""
    for each in _listed(folder):
        place = _place(folder, each)
        if _kind(each) in WITH_CONFIG and not (place / folders.CONFIG).is_file():
            return False
        if weights and _kind(each) in ("Dense", "LayerNorm") and folders.weights(place).problem:
            return False
    return True


def left_out(folder: Path, task: str) -> str:
    """Return the note on modules that the user's task leaves out; empty if there are none."""
    names = [str(each["type"]).rpartition(".")[2] for each in _listed(folder) if _kind(each) != TRANSFORMER]
    if not names or task in TASKS:
        return ""
    return f"--task {task} serves the transformer alone, without {_joined(names)} of its {MODULES}"


def read(folder: Path, task: str) -> Sentences | None:
    """Return the modules of a folder; None if it has none, or the user's task is that of its transformer alone.

    Raises SourceError for a module or a setting that a served model would drop.
    """
    listed = _listed(folder)
    if not listed or task not in TASKS or _is_cross_encoder(folder, listed):
        return None
    _refuse_modules(folder, listed)
    layers = tuple(_layer(_place(folder, each), _kind(each)) for each in listed[1:])
    place = home(folder)
    settings = next(filter(None, (folders.document(place / name) for name in OF_A_TRANSFORMER)), {})
    _refuse_settings(folder, settings)
    kind = folders.configuration(place)
    encoder = kind.get("model_type") in ENCODERS
    if kind.get("is_encoder_decoder") and not encoder:
        raise _unsupported(folder, f"an encoder with a decoder ({kind.get('model_type')})")
    return Sentences(place, encoder, layers, settings, folders.document(folder / SETTINGS))


def _is_cross_encoder(folder: Path, listed: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the transformer alone is the model: it scores pairs of texts."""
    kind = folders.document(folder / SETTINGS).get("model_type")
    return kind == CROSS_ENCODER and [_kind(each) for each in listed] == [TRANSFORMER]


def _refuse_modules(folder: Path, listed: Sequence[Mapping[str, Any]]) -> None:
    """Raise SourceError for modules that are not known, or that give no sentence embedding."""
    for each in listed:
        if _kind(each) not in (TRANSFORMER, *LAYERS):
            raise _unsupported(folder, f"the module {each['type']}")
    kind = folders.document(folder / SETTINGS).get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        raise _unsupported(folder, f"the model type {kind}")
    kinds = [_kind(each) for each in listed]
    if kinds.index(TRANSFORMER) if TRANSFORMER in kinds else True:
        raise _unsupported(folder, f"a {MODULES} that begins with {listed[0]['type']}")
    if kinds.count(TRANSFORMER) > 1 or POOLING not in kinds:
        what = "no Pooling" if POOLING not in kinds else "two transformers"
        raise _unsupported(folder, f"a {MODULES} with {what}")


def _refuse_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise SourceError for settings with which the library calls the transformer differently."""
    calls = settings.get("modality_config", PLAIN)
    if settings.get("transformer_task", "feature-extraction") != "feature-extraction":
        raise _unsupported(folder, f"the transformer_task {settings['transformer_task']}")
    if calls != PLAIN or settings.get("module_output_name", TOKENS) != TOKENS:
        raise _unsupported(folder, f"the modality_config {json.dumps(calls)}")
    for key in ("model_args", "model_kwargs", "config_args", "config_kwargs"):
        changing = sorted((settings.get(key) or {}).keys() - HARMLESS)
        if changing:
            raise _unsupported(folder, f"the setting {key} {changing[0]}")
    for key in CHANGING:
        if settings.get(key):
            raise _unsupported(folder, f"the setting {key}")


def _layer(place: Path, kind: str) -> Layer:
    """Return one module with its settings; SourceError for one without those that it needs."""
    path = place / folders.CONFIG
    settings = folders.document(path)
    if kind in WITH_CONFIG and not path.is_file():
        raise SourceError(f"{place} has no {folders.CONFIG}", "Save or download the model again")
    lacking = next((key for key in LAYERS[kind] if not isinstance(settings.get(key), int)), None)
    if lacking:
        raise SourceError(f"{path} has no {lacking}", "Save or download the model again")
    layer = Layer(kind, place, settings)
    unknown = next((mode for mode in layer.modes if mode not in OLDER_MODES.values()), None)
    if kind == POOLING and unknown:
        raise SourceError(f"{path}: the pooling mode {unknown!r} is not supported", ALONE)
    return layer


def _unsupported(folder: Path, what: str) -> SourceError:
    return SourceError(f"{folder} is a sentence-transformers model with {what}, which is not supported", ALONE)


def _listed(folder: Path) -> list[dict[str, Any]]:
    """Return the list of modules, empty if there is none; SourceError for one that can't be read."""
    path = folder / MODULES
    found = folders.any_document(path) if path.is_file() else []
    fits = isinstance(found, list) and all(
        isinstance(each, dict) and isinstance(each.get("type"), str) and isinstance(each.get("path"), str)
        for each in found
    )
    if not fits:
        raise SourceError(f"{path} lists no modules with their types and paths", "Save or download the model again")
    return list(found)


def _kind(module: Mapping[str, Any]) -> str:
    """Return the class of a module of the library; the whole type for any other."""
    named = str(module["type"])
    return named.rpartition(".")[2] if named.startswith(LIBRARY) else named


def _place(folder: Path, module: Mapping[str, Any]) -> Path:
    """Return the folder of a module; it must lie in the model's, so that it can't be any of the machine."""
    inside = PurePosixPath(module["path"])
    if inside.is_absolute() or ".." in inside.parts:
        raise SourceError(
            f"{folder / MODULES} names {module['path']!r}, which is not in its folder",
            "Don't use a model that names files outside of its folder",
        )
    return folder / inside


def _joined(names: Sequence[object]) -> str:
    *others, last = map(str, names)
    return f"{', '.join(others)} and {last}" if others else last
