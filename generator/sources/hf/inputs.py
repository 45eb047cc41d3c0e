"""The inputs of a transformers model: names, shapes and values, from its forward and its configuration."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from inspect import signature
from math import prod
from typing import Any

from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.tensors import Dim, Domain, InputShape, TensorSpec

BATCH, SEQUENCE = "batch", "sequence"
# Texts of a few tokens, of one, and long enough for windows and buckets of positions; the first is the warm-up's.
LENGTHS = (16, 1, 33)
# The frames of a sound after a model's convolutions, and the samples of one if these are unknown.
FRAMES, SAMPLES = (49, 24), (16000, 8000)
# The names of a spectrogram's height in configurations.
BINS = ("num_mel_bins", "feature_projection_input_dim", "input_feat_per_channel")
IMAGE_SIZE = 224
CHOICES = (2, 3)


def inputs_of(model: Any, task: str, image_size: tuple[int, int] | None) -> tuple[TensorSpec, ...]:
    """Return the inputs of a model for a task: those that carry data, and the masks of texts.

    ``image_size`` is the height and width in its preprocessor.
    """
    return tuple(_inputs(model, set(signature(model.forward).parameters), task, image_size))


def _inputs(model: Any, taken: set[str], task: str, image_size: tuple[int, int] | None) -> Iterator[TensorSpec]:
    config = model.config
    text = getattr(config, "text_config", None) or config.get_text_config(decoder=False)
    several = {"input_ids", "pixel_values"} <= taken
    if "input_ids" in taken:
        # Texts and images are compared each with each, so their numbers may differ.
        shape: tuple[Dim, ...] = ("texts" if several else BATCH, SEQUENCE)
        sizes = {SEQUENCE: _lengths(text)}
        if task == "multiple-choice":
            shape, sizes = (BATCH, "choices", SEQUENCE), {**sizes, "choices": CHOICES}
        yield TensorSpec("input_ids", "int64", shape, Domain(0, _words(model, text) - 1), sizes)
        if "attention_mask" in taken:
            yield TensorSpec("attention_mask", "int64", shape, Domain(0, 1, mask=True), sizes)
        types = getattr(text, "type_vocab_size", 0) or 0
        if "token_type_ids" in taken and types > 1:
            yield TensorSpec("token_type_ids", "int64", shape, Domain(0, types - 1), sizes)
    if "pixel_values" in taken:
        yield _pixels(config, "images" if several else BATCH, task, image_size)
    for name in ("input_values", "input_features"):
        if name in taken:
            yield _sound(name, config)
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in taken:
        decoder = config.get_text_config(decoder=True)
        sizes = {"decoder_sequence": _lengths(decoder)}
        domain = Domain(0, decoder.vocab_size - 1)
        yield TensorSpec("decoder_input_ids", "int64", (BATCH, "decoder_sequence"), domain, sizes)


def _words(model: Any, text: Any) -> int:
    words = getattr(text, "vocab_size", None)
    return int(words if words is not None else model.get_input_embeddings().num_embeddings)


def longest(model: Any) -> int | None:
    """Return the number of tokens that a model has positions for; None if it has no limit."""
    config = model.config
    return _positions(getattr(config, "text_config", None) or config.get_text_config(decoder=False))


def _positions(text: Any) -> int | None:
    """Return the positions of tokens; RoBERTa's begin after that of the padding."""
    positions = getattr(text, "max_target_positions", None) or getattr(text, "max_position_embeddings", None)
    if not positions or positions < 0:
        return None
    return int(max(1, positions - 1 - (getattr(text, "pad_token_id", None) or 0) if positions < 1024 else positions))


def _lengths(text: Any) -> tuple[int, ...]:
    """Return the lengths to try, within the positions of the model."""
    most = _positions(text)
    return tuple(dict.fromkeys(min(length, most) if most else length for length in LENGTHS))


def _pixels(config: Any, batch: str, task: str, image_size: tuple[int, int] | None) -> TensorSpec:
    size = image_size or _of(config, "image_size") or IMAGE_SIZE
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    frames = _of(config, "num_frames") if task == "video-classification" else None
    channels = _of(config, "num_channels") or 3
    return TensorSpec("pixel_values", "float32", (batch, *([frames] if frames else []), channels, height, width))


def _of(config: Any, name: str) -> Any:
    """Return a value of a configuration, or of that of its vision part or backbone."""
    parts = (config, getattr(config, "vision_config", None), getattr(config, "backbone_config", None))
    return next((value for part in parts if (value := getattr(part, name, None))), None)


def _sound(name: str, config: Any) -> TensorSpec:
    """Return the input of a speech model: samples of a wave, or a spectrogram."""
    config = getattr(config, "encoder_config", None) or config
    bins = next((value for each in BINS if (value := getattr(config, each, None))), None)
    if hasattr(config, "conv_stride") and name == "input_values":
        stride = prod(config.conv_stride)
        return _any_size(name, "samples", tuple(stride * frames + stride // 3 for frames in FRAMES))
    if not bins:
        return _any_size(name, "samples", SAMPLES)
    if config.model_type == "whisper":
        return TensorSpec(name, "float32", (BATCH, bins, 2 * config.max_source_positions))
    if config.model_type == "audio-spectrogram-transformer":
        return TensorSpec(name, "float32", (BATCH, config.max_length, bins))
    return _any_size(name, "frames", tuple(4 * each for each in FRAMES), bins)


def _any_size(name: str, dim: str, sizes: tuple[int, ...], *more: int) -> TensorSpec:
    return TensorSpec(name, "float32", (BATCH, dim, *more), Domain(wave=not more), {dim: sizes})


def given(inputs: tuple[TensorSpec, ...], shapes: tuple[InputShape, ...]) -> tuple[TensorSpec, ...]:
    """Return inputs with the sizes that a user gives instead of their own; the batch stays dynamic.

    A named dimension gets its size in every input. Raises OptionError for an unknown input, or for another number of
    dimensions.
    """
    by_name = {spec.name: spec for spec in inputs}
    sizes: dict[str, int] = {}
    changed: dict[str, TensorSpec] = {}
    for shape in shapes:
        spec = by_name.get(shape.name) if shape.name else _only(inputs)
        if spec is None:
            raise OptionError(
                f"--input-shape names the input {shape.name!r}", f"The model takes {', '.join(map(str, inputs))}"
            )
        wanted = (1, *shape.shape) if not shape.name and len(shape.shape) == len(spec.shape) - 1 else shape.shape
        if len(wanted) != len(spec.shape):
            raise OptionError(f"--input-shape gives {len(wanted)} dimensions to {spec}", "The batch is the first one")
        for dim, size in zip(spec.shape[1:], wanted[1:], strict=True):
            if isinstance(dim, str):
                sizes[dim] = size
        changed[spec.name] = replace(spec, shape=(spec.shape[0], *wanted[1:]), dtype=shape.dtype or spec.dtype)
    return tuple(_sized(changed.get(spec.name, spec), sizes) for spec in inputs)


def _only(inputs: tuple[TensorSpec, ...]) -> TensorSpec:
    images = [spec for spec in inputs if spec.name == "pixel_values"]
    if len(inputs) > 1 and len(images) != 1:
        raise OptionError("--input-shape names no input", f"The model takes {', '.join(map(str, inputs))}")
    return (images or list(inputs))[0]


def _sized(spec: TensorSpec, sizes: Mapping[str, int]) -> TensorSpec:
    shape = tuple(sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in spec.shape)
    return replace(spec, shape=shape, sizes={dim: own for dim, own in spec.sizes.items() if dim not in sizes})
