"""State dicts: the named tensors of a network, read from a file and fitted to it."""

import os
import pickle
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import SourceError
from modelrepo.generator.sources import formats
from modelrepo.generator.system.extras import TORCH, need

# Keys under which training scripts put the state dict of a checkpoint.
CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model")
# The prefixes that data parallelism and torch.compile add to each name.
WRAPPERS = ("module.", "_orig_mod.")
# torch refuses code in the pickles it loads while this variable is set, even if its caller allows it.
WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


@contextmanager
def no_code() -> Iterator[None]:
    """Let torch load only tensors, whatever its caller allows."""
    before = os.environ.get(WEIGHTS_ONLY)
    os.environ[WEIGHTS_ONLY] = "1"
    try:
        yield
    finally:
        del os.environ[WEIGHTS_ONLY]
        if before is not None:
            os.environ[WEIGHTS_ONLY] = before


def read_state(path: Path, trust: bool) -> dict[str, Any]:
    """Return the named tensors of a file of safetensors, or of a pickle as torch writes it.

    A pickle that holds more than tensors is refused unless ``trust``. Raises SourceError with the reason.
    """
    import torch

    try:
        if formats.kind_of(path) == "safetensors":
            return dict(need("safetensors.torch", TORCH).load_file(path))
        with path.open("rb") as file:  # for a path torch trusts the suffix
            loaded = torch.load(file, map_location="cpu", weights_only=not trust)
    except SourceError:
        raise
    except Exception as error:
        # torch and safetensors raise UnpicklingError, RuntimeError, EOFError, KeyError, … for unreadable files.
        raise _unreadable(path, error) from error
    return _state_of(loaded, path)


def _unreadable(path: Path, error: Exception) -> SourceError:
    if isinstance(error, pickle.UnpicklingError) and re.search("unsupported (global|class)", str(error), re.IGNORECASE):
        return SourceError(
            f"{path} holds code, not only tensors",
            "Save a state dict instead, or allow it to run with --trust-source if you trust the file",
        )
    if "TorchScript" in str(error):
        return SourceError(
            f"{path} is a TorchScript archive", "Save a state dict: torch.save(model.state_dict(), path)"
        )
    return SourceError(f"{path} is not a readable weights file: {type(error).__name__}")


def _state_of(loaded: Any, path: Path) -> dict[str, Any]:
    import torch

    if isinstance(loaded, torch.nn.Module):
        loaded = loaded.state_dict()
    for key in CHECKPOINT_KEYS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in loaded.items()
    ):
        raise SourceError(f"{path} does not hold a state dict", "Save one with torch.save(model.state_dict(), path)")
    return dict(loaded)


def bare(state: dict[str, Any], own: Collection[str] = ()) -> dict[str, Any]:
    """Return a state dict without the prefixes of wrappers, unless the network's ``own`` names have them.

    A module of the user's, such as one of Lightning, is a wrapper if it keeps the network alone, under any name.
    """
    wrapper = next((each for each in WRAPPERS if state and all(key.startswith(each) for key in state)), None)
    if wrapper is not None and not state.keys() <= set(own):
        return bare({key.removeprefix(wrapper): value for key, value in state.items()}, own)
    attribute = f"{next(iter(state), '').partition('.')[0]}."
    inner = {key.removeprefix(attribute): value for key, value in state.items() if key.startswith(attribute)}
    kept_alone = len(inner) == len(state) and inner.keys() <= set(own) and not state.keys() & set(own)
    return inner if kept_alone else state


def fit(module: Any, state: dict[str, Any], origin: Path, called: str) -> None:
    """Load ``state`` into a ``torch.nn.Module``; SourceError with the part of the file ``origin`` that does not fit."""
    state = bare(state, module.state_dict())
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise SourceError(f"{origin} does not fit {called}: {_mismatch(module.state_dict(), state)}") from error


def _mismatch(own: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    for what, keys in (("lacks", own.keys() - state.keys()), ("has unknown", state.keys() - own.keys())):
        if keys:
            return f"it {what} {len(keys)} tensors, {min(keys)} among them"
    key = min(key for key in own if own[key].shape != state[key].shape)
    return f"its {key} has shape {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
