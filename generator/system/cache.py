"""The cache folder: downloads, and TensorRT plans that were built."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return ``MODELREPO_CACHE``, or the user's own cache; RuntimeError for a user without a home folder."""
    own = os.environ.get("MODELREPO_CACHE")
    if own:
        return Path(os.path.expanduser(own)).absolute()  # noqa: PTH111 - returns paths that it can't expand, and does not raise
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelrepo"
