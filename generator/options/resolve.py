"""From flags and modelrepo.toml to the frozen options of one model."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modelrepo.generator import sources
from modelrepo.generator.backends import BACKENDS
from modelrepo.generator.errors import OptionError
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.fields import FIELDS
from modelrepo.generator.options.names import check_name, published_name
from modelrepo.generator.options.relevance import idle, idle_for_source
from modelrepo.generator.specs.options import Options
from modelrepo.generator.triton import releases

PLANS_ONLY = "It is for TensorRT plans: --backends tensorrt"
# What an option is for that some models have no use for.
WANTING = {
    "calibration": "It is for static INT8 and FP8: --precision int8",
    "calibration_method": "It is for static INT8 and FP8: --precision int8",
    "keep_precise": "It is for a lower precision: --precision fp16",
    "max_accuracy_drop": "It is for a lower precision or --prune",
    "profiles": "It is for TensorRT: --backends tensorrt, or onnx+tensorrt-ep",
    "plan_builder": PLANS_ONLY,
    "version_compatible": PLANS_ONLY,
    "cuda_graphs": PLANS_ONLY,
}


def resolve(flags: Mapping[str, Any], config: ConfigFile, model: str) -> tuple[str, Options]:
    """Return the model's own name and its options: flags win over its table, its table over the file's defaults.

    ``flags`` holds parsed values of the flags that were given; ``model`` is a reference or a table's name.
    """
    table = config.models.get(model, {})
    values = {name: field_.default for name, field_ in FIELDS.items()}
    values.update(config.defaults)
    values["model"] = model
    values.update(table)
    values.update({name: value for name, value in flags.items() if name != "model"})
    chosen = (replace(choice, precision=choice.precision or values["precision"]) for choice in values["backends"])
    options = Options(**{**values, "backends": tuple(dict.fromkeys(chosen))})
    _check_together(options)
    _refuse_idle(flags, options)
    if model in config.models:
        return check_name(model), options
    return _default_name(options), options


def _default_name(options: Options) -> str:
    """Return the name that the source gives a model, if Triton can take what becomes of it."""
    name = sources.default_name(options.model)
    try:
        for choice in options.backends:
            published_name(name, options, choice)
    except OptionError as error:
        raise OptionError(error.message, f"{error.hint}{_naming_hint(options.model)}") from error
    return name


def _naming_hint(model: str) -> str:
    """Return how a model is given another name, where its own comes from a file's."""
    if sources.default_name(model) == model:
        return ""
    return ". Give it one in a [models.NAME] table of modelrepo.toml, or with --name-template"


def _check_together(options: Options) -> None:
    release = releases.release_named(options.target_release)
    if options.opset > release.max_opset:
        raise OptionError(
            f"opset {options.opset} is newer than Triton {release.container} reads",
            f"Its ONNX Runtime {release.onnxruntime} reads up to opset {release.max_opset}: lower --opset",
        )
    if options.exporter == "torchscript" and not options.verify:
        raise OptionError(
            "the torchscript exporter records one run of the model, so what it writes must be verified",
            "Leave --no-verify or --exporter out",
        )
    for choice in options.backends:
        own = BACKENDS[choice.backend].INSTANCES
        if own.kind == "KIND_GPU" and options.instances and options.instances.kind not in ("KIND_GPU", "KIND_AUTO"):
            asked = options.instances.kind.removeprefix("KIND_").lower()
            raise OptionError(
                f"{choice.backend} needs a GPU, and --instances says {asked}",
                "Leave it out, or name gpu:COUNT",
            )
        if choice.precision not in BACKENDS[choice.backend].PRECISIONS:
            others = [name for name, backend in BACKENDS.items() if choice.precision in backend.PRECISIONS]
            raise OptionError(
                f"{choice.backend} can't be given {choice.precision}: it takes "
                f"{', '.join(BACKENDS[choice.backend].PRECISIONS)}",
                f"For {choice.precision} there is {', '.join(others)}",
            )
        if not options.verify and ("auto" in options.keep_precise or options.max_accuracy_drop is not None):
            raise OptionError("without verification nothing tells what a precision costs", "Leave --no-verify out")
    too_large = [size for size in options.preferred_batch_sizes if size > options.max_batch_size]
    if too_large:
        raise OptionError(
            f"preferred batch size {too_large[0]} is larger than the max batch size {options.max_batch_size}",
            "Triton refuses such a model: raise --max-batch-size",
        )


def _refuse_idle(flags: Mapping[str, Any], options: Options) -> None:
    """Refuse a flag that would do nothing; what a file says for many models may be no matter to one of them."""
    for name in flags:
        if all(name in idle(choice, options) for choice in options.backends):
            flag = f"--{name.replace('_', '-')}"
            if name in idle_for_source(options):
                schemes = [scheme for scheme, source in sources.SOURCES.items() if name in source.options]
                raise OptionError(f"{flag} is no matter to {options.model}", f"It is for {', '.join(schemes)}")
            choices = ", ".join(map(str, options.backends))
            raise OptionError(f"{flag} is no matter to {choices}", WANTING[name])
