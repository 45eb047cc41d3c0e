"""What transformers and sentence-transformers do around a model, as files beside it say: each step gets a note."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelrepo.generator.sources.hf import folder as folders
from modelrepo.generator.sources.hf import sentences

GENERATION = "generation_config.json"
# Keys of a generation configuration that steer no tokens: those that every model has.
UNSTEERING = {"transformers_version", "_from_model_config", "use_cache", "output_attentions", "output_hidden_states"}
UNSTEERING |= {"bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"}
TOLD = 5
# The inputs that are sounds.
SOUNDS = ("input_values", "input_features")
# The function that changes nothing.
IDENTITY = "Identity"


def notes(home: Path, folder: Path, config: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    """Yield a note for each step around the model that the served one does not do.

    ``home`` is the folder of the model itself, ``config`` its configuration, and ``names`` are its inputs.
    """
    function = _after_scores(folder, config)
    if function:
        yield f"its logits are served as they are: CrossEncoder applies {function} to them, do likewise"
    steering = sorted(folders.document(home / GENERATION).keys() - UNSTEERING)
    if steering:
        more = ", …" if len(steering) > TOLD else ""
        told = ", ".join(steering[:TOLD])
        yield f"one pass is served: a client that generates text follows {GENERATION} ({told}{more})"
    if config.get("custom_pipelines"):
        yield f"its own pipeline ({', '.join(config['custom_pipelines'])}) is not served: the model alone is"
    extractor = folders.document(home / "preprocessor_config.json").get("feature_extractor_type")
    if extractor and any(name in SOUNDS for name in names):
        yield f"sounds are prepared by {extractor}, whose settings are in preprocessor_config.json: do likewise"


def _after_scores(folder: Path, config: Mapping[str, Any]) -> str:
    """Return the function that CrossEncoder applies to the scores; empty if there is none, or it changes nothing."""
    own = config.get("sentence_transformers")
    settings = folders.document(folder / sentences.SETTINGS)
    named = (
        (own.get("activation_fn") if isinstance(own, Mapping) else None)
        or config.get("sbert_ce_default_activation_function")
        or (settings.get("activation_fn") if settings.get("model_type") == sentences.CROSS_ENCODER else None)
    )
    function = str(named or "").rpartition(".")[2]
    return "" if function == IDENTITY else function
