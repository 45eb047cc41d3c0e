"""A folder that transformers saved: the configuration, weights, and the files of its tokenizer."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from modelrepo.generator.errors import SourceError
from modelrepo.generator.sources import formats

CONFIG = "config.json"
ADAPTER = "adapter_config.json"
SAFE, SAFE_INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
# The files of weights in the order in which transformers looks for them, each with the list of its parts.
WEIGHTS = ((SAFE, SAFE_INDEX), (PICKLE, PICKLE_INDEX))
OTHER_FRAMEWORKS = ("tf_model.h5", "flax_model.msgpack")
# The files that prepare inputs and read outputs: tokenizers, processors, chat templates, as transformers and tokenizers
# name them. Vocabularies have various names with these beginnings and endings.
COMPANIONS = (
    *("config.json", "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json", "chat_template.json", "modules.json"),
    *("config_sentence_transformers.json", "sentence_bert_config.json", "normalizer.json", "generation_config.json"),
)
COMPANION_STARTS = ("tokenizer", "vocab", "merges", "spiece", "sentencepiece", "spm", "chat_template")
COMPANION_ENDS = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".spm", ".bpe")


@dataclass(frozen=True)
class WeightFiles:
    """The files of weights that exist, and the reason why they can't be used; None if they can."""

    files: tuple[Path, ...] = ()
    problem: SourceError | None = None

    def checked(self, trust: bool) -> tuple[Path, ...]:
        """Return the files; SourceError for one that is missing, broken, or holds code that is not trusted."""
        if self.problem:
            raise self.problem
        for file in self.files:
            if file.suffix == ".safetensors":
                formats.expect(file, "safetensors")
            elif formats.kind_of(file) != "state dict" and not trust:
                raise holds_code(file)
        return self.files


def holds_code(file: Path) -> SourceError:
    """Return the error for a pickle that holds more than tensors."""
    return SourceError(
        f"{file} holds more than tensors, such as code",
        "Save the model as safetensors, or allow it to run with --trust-source",
    )


def is_companion(name: str) -> bool:
    """Whether a file prepares inputs or reads outputs."""
    return name in COMPANIONS or (name.startswith(COMPANION_STARTS) and name.endswith(COMPANION_ENDS))


def companions(folder: Path) -> tuple[Path, ...]:
    """Return the files that belong to the model, such as those of a tokenizer."""
    return tuple(sorted(file for file in folder.iterdir() if file.is_file() and is_companion(file.name)))


def own_code(folder: Path) -> tuple[Path, ...]:
    """Return the Python files beside the configuration."""
    return tuple(sorted(folder.glob("*.py")))


def configuration(folder: Path) -> dict[str, Any]:
    """Return the content of config.json; SourceError if it is missing or broken."""
    path = folder / CONFIG
    if (folder / ADAPTER).exists():
        beside = path.is_file()
        raise SourceError(
            f"{folder} holds an adapter{f' beside a model ({ADAPTER})' if beside else ', not a model'}",
            "Merge it into its model with PEFT's merge_and_unload(), and save that with save_pretrained"
            + (f"; without {ADAPTER} the model is served without it" if beside else ""),
        )
    if not path.is_file():
        nested = next((each.parent for each in sorted(folder.glob(f"*/{CONFIG}"))), None)
        hint = f"There is one in hf:{nested}" if nested else "Save the model with save_pretrained"
        raise SourceError(f"{folder} has no {CONFIG}", hint)
    document = _document(path)
    if not isinstance(document, dict) or not _is_named(document.get("model_type"), document.get("architectures")):
        raise SourceError(
            f"{path} does not say what the model is", "It needs a model_type, as save_pretrained writes it"
        )
    return document


def _is_named(kind: Any, classes: Any) -> bool:
    """Whether a configuration names the type of its model, or its classes, as text."""
    classes = classes or []
    named = [*classes, *([] if kind is None else [kind])] if isinstance(classes, list) else []
    return bool(named) and all(isinstance(each, str) for each in named)


def weights(folder: Path) -> WeightFiles:
    """Return the weights that transformers would load: safetensors before pickles, one file before several."""
    for whole, index in WEIGHTS:
        if (folder / whole).is_file():
            return WeightFiles((folder / whole,))
        if (folder / index).is_file():
            return _in_parts(folder / index)
    others = [name for name in OTHER_FRAMEWORKS if (folder / name).exists()]
    of = f": {others[0]} belongs to another framework" if others else ""
    return WeightFiles(
        problem=SourceError(
            f"{folder} has no weights: no {SAFE} and no {PICKLE}{of}",
            "Save the model with save_pretrained, or use --weights random",
        )
    )


def _in_parts(index: Path) -> WeightFiles:
    """Return the files that an index names; each must lie beside it, so that it can't name any file of the machine."""
    found: list[Path] = []
    try:
        for name in _parts(index):
            inside = PurePosixPath(name)
            if len(inside.parts) != 1 or inside.name in ("", ".", ".."):
                raise SourceError(
                    f"{index} names {name!r}, which is not beside it",
                    "Don't use a model that names files outside of its folder",
                )
            if not (index.parent / name).is_file():
                raise SourceError(f"{index} names {name}, and there is no such file beside it", "Download it again")
            found.append(index.parent / name)
    except SourceError as problem:
        return WeightFiles(tuple(found), problem)
    return WeightFiles(tuple(found))


def _parts(index: Path) -> Iterator[str]:
    document = _document(index)
    named = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise SourceError(f"{index} lists no files of weights", "Save or download the model again")
    yield from sorted(set(named.values()))


def _document(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SourceError(f"can't read {path}: {error.strerror}") from error
    except ValueError as error:
        raise SourceError(f"{path} is not valid JSON", "Save or download it again") from error


def any_document(path: Path) -> Any:
    """Return the content of a JSON file; SourceError if it can't be read."""
    return _document(path)


def document(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file, nothing if it is missing; SourceError if it can't be read."""
    found = _document(path) if path.is_file() else {}
    return found if isinstance(found, dict) else {}
