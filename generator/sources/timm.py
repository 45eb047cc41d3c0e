"""timm's models: `--model timm:resnet50` or `timm:resnet50.a1_in1k`, with timm's weights, random ones or a file's."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ModelRepoError, SourceError, nearest
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import pytorch, registered, told
from modelrepo.generator.sources.hf import hub
from modelrepo.generator.sources.pytorch import pictures, preparing, pretrained, state_dict, weights_size
from modelrepo.generator.sources.pytorch.assumptions import assuming
from modelrepo.generator.sources.source import Source
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.preparation import UNPREPARED, Crop, Meaning, Preparation, Resize
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import TensorSpec
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.system.extras import TORCH, Extra, need
from modelrepo.generator.system.quiet import quiet

TIMM = Extra("timm", ("timm", *TORCH.modules))
INPUT = "input"
AXES = ("channels", "height", "width")
# The files that timm looks for in a repository of the hub, in its order.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
# The only way to crop that clients know: resize the shorter side, cut out the centre.
CENTER = "center"


def default_name(name: str) -> str:
    """Return the model's own name, its tag included."""
    return name.rpartition("/")[2]


def known() -> tuple[str, ...]:
    """Return the names of timm's architectures, and those with each tag that has weights."""
    timm = need("timm", TIMM)
    return tuple(sorted({*timm.list_models(), *timm.list_models(pretrained=True)}))


def check(name: str, options: Options) -> None:
    """Raise SourceError unless timm has an architecture of that name, and weights for it if they are wanted."""
    architecture, _, tag = name.partition(".")
    names = registered.names(told.TIMM)  # without deprecated names
    if names and architecture not in names:
        raise told.unknown(name, told.TIMM, names)
    timm = need("timm", TIMM)
    tags = [each.partition(".")[2] for each in timm.list_models(f"{architecture}.*", pretrained=True)]
    if tag and tag not in tags:
        offered = nearest(tag, tags) if tags else f"Use --model timm:{architecture} --weights random"
        raise SourceError(f"timm has no weights {tag!r} for {architecture}", offered)
    if not tags and options.weights == pretrained.PRETRAINED and not options.allow_untrained:
        raise SourceError(
            f"timm has no pretrained weights for {name}",
            "Use --weights random for an untrained model, or --weights FILE for your own",
        )


def load(name: str, options: Options, progress: Progress) -> SourceModel:
    """Return the model in evaluation mode.

    Its input is float32 (batch, channels, height, width), an image as timm's data configuration prepares it, described
    by ``preprocess``. Its output is float32 (batch, classes) before softmax, or features if it has no classes. Raises
    SourceError for an unknown name, unusable weights and a size that the network does not take.
    """
    check(name, options)
    timm = need("timm", TIMM)
    reference = f"timm:{name}"
    asked = pictures.asked_shape(options.input_shape, (INPUT,), AXES, "a timm model", any_channels=True)
    config = timm.get_pretrained_cfg(name)
    arguments = _arguments(config, asked)
    module, weights = pretrained.load(
        _architecture(reference, name, config.num_classes, arguments),
        lambda progress: _published(name, arguments),
        options,
        progress,
    )
    data = timm.data.resolve_model_data_config(module)
    shape = asked or tuple(data["input_size"])
    preprocess, note = _preprocess(data, shape)
    source = pytorch.source_model(
        reference,
        module,
        pictures.opened((TensorSpec(INPUT, "float32", ("batch", *shape)),), options.dynamic),
        weights,
        labels=_labels(module),
        preprocess=preprocess,
        notes=(note,) if note else (),
    )
    meaning = Meaning("softmax" if module.num_classes else "embedding", source.output_names)
    source = replace(source, preparation=_preparation(data, shape), meaning=meaning)
    return assuming(source, options.assume_branch)


def _arguments(config: Any, asked: tuple[int, ...]) -> dict[str, Any]:
    """Return the arguments that build a model: code that exporters can read, and the size if it shapes the weights."""
    arguments: dict[str, Any] = {"exportable": True}
    if asked and asked[0] != config.input_size[0]:
        arguments["in_chans"] = asked[0]
    if asked and config.fixed_input_size and asked[1:] != tuple(config.input_size[1:]):
        arguments["img_size"] = asked[1:]
    return arguments


def _architecture(reference: str, name: str, classes: int, arguments: Mapping[str, Any]) -> pretrained.Architecture:
    timm = need("timm", TIMM)

    def build(classes: int) -> Any:
        try:
            return timm.create_model(name, num_classes=classes, **arguments)
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:  # any error of the model's code
            raise _unbuildable(reference, arguments, error) from error

    with quiet():
        return pretrained.Architecture(reference, build, classes, weights_size.of_built(partial(build, classes)))


def _unbuildable(reference: str, arguments: Mapping[str, Any], error: Exception) -> SourceError:
    size = arguments.get("img_size")
    if size:
        height, width = size
        return SourceError(
            f"{reference} is not built for {height}x{width}: {pytorch.cause(error)}", "Leave --input-shape out"
        )
    return SourceError(f"can't build {reference}: {pytorch.cause(error)}")


def _published(name: str, arguments: Mapping[str, Any]) -> tuple[Any, Weights]:
    """Return a model with weights that timm loads, and where they came from.

    Weights in the hub's cache are used without asking the hub, which takes half a minute without a network. Raises
    Absent if they can't be downloaded, and SourceError if they can't be read.
    """
    timm = need("timm", TIMM)
    config = timm.get_pretrained_cfg(name)
    file = _cached(config)
    overlay = {"pretrained_cfg_overlay": {"file": str(file)}} if file and not config.custom_load else {}
    try:
        with state_dict.no_code():
            module = timm.create_model(name, pretrained=True, **overlay, **arguments)
    except ModelRepoError:
        raise
    except Exception as error:  # timm, the hub, its HTTP client, torch and the model's code have no common error class
        if config.has_weights and not _is_absence(error):
            raise SourceError(
                f"can't use the weights of timm:{name}: {pytorch.cause(error)}",
                "Remove them from the cache to download them again",
            ) from error
        raise _absent(name, config, error) from error
    file = file or _cached(config)
    detail = ".".join(filter(None, (name.partition(".")[0], config.tag)))
    return module, Weights("pretrained", detail, untrained=False, sha256=sha256_of(file) if file else None)


def _is_absence(error: Exception) -> bool:
    """Whether an error is of the network or the disk: those of the hub and of urllib are OSErrors."""
    return isinstance(error, OSError) or type(error).__module__.startswith("http")


def _absent(name: str, config: Any, error: Exception) -> pretrained.Absent:
    if not config.has_weights:
        return pretrained.Absent(f"timm has no pretrained weights for {name}", "name your own file with --weights")
    reason = pytorch.cause(error).partition(": ")[2].rstrip(". ") or type(error).__name__
    if not config.hf_hub_id:
        message, remedy = f"can't download the weights of timm:{name}: {reason}", f"download {config.url}"
        return pretrained.Absent(message, remedy, _downloaded(config))
    remedy = (
        f"where there is a network, hf download {config.hf_hub_id} --local-dir FOLDER, and here --weights "
        f"FOLDER/{HUB_FILES[0]}"
    )
    where = f"{config.hf_hub_id} is not in the hub's cache {hub.cache()}, and can't be downloaded: {reason}"
    folder = hub.cache() / f"{hub.PREFIX}{config.hf_hub_id.replace('/', '--')}"
    return pretrained.Absent(where, remedy, folder / "snapshots/*" / (config.hf_hub_filename or HUB_FILES[0]))


def _cached(config: Any) -> Path | None:
    """Return the file of a model's weights in the hub's cache, or in torch's; None if there is none."""
    if config.hf_hub_id:
        snapshot = hub.cached(config.hf_hub_id)
        names = [config.hf_hub_filename] if config.hf_hub_filename else HUB_FILES
        candidates = [snapshot / each for each in names] if snapshot else []
    else:
        candidates = [_downloaded(config)] if config.url else []
    return next((file for file in candidates if file.exists()), None)


def _downloaded(config: Any) -> Path:
    """Return the file that torch downloads a model's URL to."""
    from torch.hub import get_dir

    return Path(get_dir()) / "checkpoints" / Path(config.url).name


def _labels(module: Any) -> tuple[str, ...]:
    """Return the names of a model's classes: its own, or those of the subset of ImageNet with as many classes."""
    from timm import data

    own = module.pretrained_cfg.get("label_names")
    if own:
        return tuple(own)
    subset = data.infer_imagenet_subset(module)
    return tuple(data.ImageNetInfo(subset).label_descriptions()) if subset else ()


def _preprocess(config: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[dict[str, Any] | None, str]:
    """Return how a client prepares an image, or None and the reason why clients can't."""
    problem = ""
    if shape[0] != pictures.COLOURS:
        problem = f"it takes {shape[0]} channels"
    elif config["crop_mode"] != CENTER:
        problem = f"timm prepares one by {config['crop_mode']!r}, not by a crop of the centre"
    if problem:
        return None, f"{UNPREPARED}{problem}"
    return pictures.preprocess(
        shape[1:],
        resize=int(min(shape[1:]) / config["crop_pct"]),
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
    ), ""


def _preparation(config: Mapping[str, Any], shape: tuple[int, ...]) -> Preparation | None:
    """Return timm's own transform for evaluation, as the preparation of an input of a shape; None if it has none."""
    if shape[0] != pictures.COLOURS:
        return None
    data = need("timm.data", TIMM)
    height, width = shape[1:]
    try:
        transform = data.create_transform(**{**config, "input_size": shape}, is_training=False)
    except KeyError as error:  # of a filter that timm itself does not have in evaluation, such as 'random'
        return preparing.of_transform(INPUT, _identity, (), f"timm's own transform fails on {error}")
    mode, filter_name = config["crop_mode"], config["interpolation"]
    within = (int(height / config["crop_pct"]), int(width / config["crop_pct"]))
    rule: Any = {"squash": "exact", "border": "inside"}.get(mode, "shorter" if within[0] == within[1] else "covering")
    fill = tuple(round(preparing.BYTE * each) for each in config["mean"]) if mode == "border" else (0, 0, 0)
    steps = (
        Resize(rule, within, filter_name, turns=True),
        Crop((height, width), to_even=True, fill=fill),
        *preparing.normalised(config["mean"], config["std"]),
    )
    return preparing.of_transform(INPUT, transform, steps, preparing.unfit(filter_name))


def _identity(image: Any) -> Any:
    return image


SOURCE = Source(
    form="timm:NAME, or timm:NAME.TAG",
    summary="timm's image models; a tag names a set of their weights",
    frameworks=("torch",),
    load=load,
    check=check,
    known=known,
    default_name=default_name,
    options=("weights", "input_shape", "dynamic", "opset", "exporter", "assume_branch", "trust_source"),
    packages=("timm",),
    extras=(TIMM,),
)
