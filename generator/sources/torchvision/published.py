"""torchvision's own weights: downloaded into torch's cache, checked, and loaded by torchvision itself."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import SourceError
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources.pytorch import state_dict
from modelrepo.generator.sources.pytorch.pretrained import Absent
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.system.download import fetch


def weights_of(name: str, models: Any) -> Any:
    """Return the weights that torchvision has for a model; for a quantized one those of the float model."""
    default = models.get_model_weights(name).DEFAULT
    return default.meta.get("unquantized", default)


def load(name: str, arguments: Mapping[str, Any], weights: Any, models: Any, progress: Progress) -> tuple[Any, Weights]:
    """Return a model with its published weights, and where these came from.

    torchvision loads them, since it knows the architecture of each set. Raises Absent if they can't be downloaded, and
    SourceError for a file with another digest than in its name, or an unreadable one.
    """
    file = _cached(weights.url)
    digest = _downloaded(weights.url, file, progress)
    try:
        with state_dict.no_code():
            module = models.get_model(name, weights=weights, progress=False, **arguments)
    except Exception as error:
        # As in state_dict.read_state: torch raises many kinds of errors for a broken file.
        raise SourceError(
            f"{file} is not a readable weights file: {type(error).__name__}", "Remove it to download it again"
        ) from error
    return module, Weights("pretrained", str(weights), untrained=False, sha256=digest)


def _downloaded(url: str, file: Path, progress: Progress) -> str:
    """Download the file into torch's cache if it is missing, and return its SHA-256, which its name begins."""
    named = re.search(r"-([0-9a-f]{8,})\.", file.name)
    prefix = named.group(1) if named else ""
    if not file.exists():
        try:
            fetch(url, file, prefix, progress)
        except SourceError as error:
            if error.hint:  # the download is not the wanted file
                raise
            raise Absent(error.message, f"put the file at {file}", file) from error
    digest = sha256_of(file)
    if not digest.startswith(prefix):
        raise SourceError(f"{file} does not match its name: its SHA-256 is {digest}", "Remove it to download it again")
    return digest


def _cached(url: str) -> Path:
    from torch.hub import get_dir

    return Path(get_dir()) / "checkpoints" / url.rpartition("/")[2]
