"""Whether operators of ONNX Runtime Extensions give a tokenizer's tokens: the table of docs/explanation/texts.md.

It needs onnxruntime-extensions, which nothing else here does. Each operator runs in a process of its own: some end it.
PYTHONPATH=src:. python benchmarks/tokens_in_graphs.py
"""

import json
import multiprocessing
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tests import made_tokenizers

from modelrepo.generator.verification.corpus import TEXTS

# The names that HfJsonTokenizer knows families by; the first one that it opens is taken.
CLASSES = (
    *("PreTrainedTokenizerFast", "BertTokenizer", "GPT2Tokenizer", "T5Tokenizer", "XLMRobertaTokenizer"),
    *("LlamaTokenizer", "CLIPTokenizer"),
)
BPE = ("GPT2Tokenizer", "RobertaTokenizer", "CLIPTokenizer", "SpmTokenizer")
SECONDS = 120


def attributes(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield operators, and attributes that may open the tokenizer of a folder."""
    text = (folder / "tokenizer.json").read_text("utf-8")
    config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    model, normal = json.loads(text)["model"], json.loads(text)["normalizer"] or {}
    for name in (config["tokenizer_class"], *CLASSES):
        settings = json.dumps({**config, "tokenizer_class": name})
        yield "HfJsonTokenizer", {"tokenizer_config": settings, "tokenizer_vocab": text}
    if model["type"] == "WordPiece":
        small = bool(normal.get("lowercase"))
        accents = normal.get("strip_accents")
        yield (
            "BertTokenizer",
            {
                "vocab": "\n".join(sorted(model["vocab"], key=model["vocab"].get)),
                "do_lower_case": int(small),
                "strip_accents": int(small if accents is None else accents),
                "tokenize_chinese_chars": int(normal.get("handle_chinese_chars", True)),
            },
        )
    for operator in BPE if model["type"] == "BPE" else ():
        merges = "\n".join(" ".join(pair) for pair in model["merges"])
        added = "\n".join(f"{each['content']}={each['id']}" for each in json.loads(text)["added_tokens"])
        named = {"model_name": "GPT2"} if operator == "GPT2Tokenizer" else {}
        yield operator, {"vocab": json.dumps(model["vocab"]), "merges": merges, "added_token": added, **named}


def session(operator: str, values: Mapping[str, Any]) -> Any:
    """Return a session of a graph with one operator."""
    import onnxruntime
    from onnxruntime_extensions import _cuops, _ortapi2, get_library_path

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.register_custom_ops_library(get_library_path())
    graph = _cuops.SingleOpGraph.build_graph(operator, **values)
    return onnxruntime.InferenceSession(_ortapi2.make_onnx_model(graph).SerializeToString(), options)


def equal(folder: Path, operator: str, found: Any) -> None:
    """Put the number of texts with equal tokens into a queue; nothing if the operator can't be opened."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    for name, values in attributes(folder):
        if name != operator:
            continue
        try:
            opened = session(operator, values)
        except Exception:
            continue
        (given, *_) = opened.get_inputs()
        answers = (opened.run(None, {given.name: np.array([text], np.object_)})[0] for text in TEXTS)
        pairs = zip(answers, TEXTS, strict=True)
        found.put(sum(got.ravel().tolist() == tokenizer(text)["input_ids"] for got, text in pairs))
        return


def main() -> None:
    """Print a line for each tokenizer and operator."""
    context = multiprocessing.get_context("spawn")
    with TemporaryDirectory() as scratch:
        for kind in made_tokenizers.KINDS:
            folder = Path(scratch, kind)
            folder.mkdir()
            made_tokenizers.save(kind, folder)
            for operator in dict.fromkeys(name for name, _ in attributes(folder)):
                queue = context.Queue()
                process = context.Process(target=equal, args=(folder, operator, queue))
                process.start()
                process.join(SECONDS)
                said = f"ended with {process.exitcode}" if process.exitcode else "can't be opened"
                told = said if queue.empty() else f"{queue.get()} of {len(TEXTS)}"
                print(f"{kind:14}{operator:18}{told}", flush=True)


if __name__ == "__main__":
    main()
