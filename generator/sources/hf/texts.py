"""A folder's tokenizer, and the texts that its vocabulary makes likely."""

from pathlib import Path
from typing import Any

from modelrepo.generator.sources.hf import folder as folders
from modelrepo.generator.sources.hf.hub import HF
from modelrepo.generator.system.extras import need
from modelrepo.generator.system.quiet import quiet


def tokenizer(folder: Path) -> Any:
    """Return a folder's tokenizer; None if it has none that transformers reads without code of its own."""
    if not any(file.name.startswith(folders.COMPANION_STARTS) for file in folders.companions(folder)):
        return None
    transformers = need("transformers", HF)
    try:
        with quiet():
            return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception:  # a broken tokenizer is no matter of the model's
        return None


def given(tokenizer: Any) -> tuple[str, ...]:
    """Return the names of the inputs that a tokenizer gives; none without one."""
    return tuple(tokenizer.model_input_names) if tokenizer else ()


def keeps_case(tokenizer: Any) -> bool:
    """Whether a tokenizer tells capitals from small letters."""
    ids = [tokenizer(text)["input_ids"] for text in ("A B C", "a b c")] if tokenizer else [0, 0]
    return bool(ids[0] != ids[1])
