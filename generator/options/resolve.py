"""From flags and modelrepo.toml to the frozen options of one model."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modelrepo.generator import sources
from modelrepo.generator.backends import BACKENDS
from modelrepo.generator.errors import OptionError, SourceError
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.fields import FIELDS
from modelrepo.generator.options.names import check_name, published_name
from modelrepo.generator.options.relevance import applies_to, idle, idle_for_source
from modelrepo.generator.sources.told import Told
from modelrepo.generator.specs.options import Options, RunOptions
from modelrepo.generator.triton import releases


def resolve(flags: Mapping[str, Any], config: ConfigFile, model: str) -> tuple[str, Options]:
    """Return the model's own name and its options: flags win over its table, its table over the file's defaults.

    ``flags`` holds parsed values of the flags that were given; ``model`` is a reference or a table's name.
    """
    own = {"model": model, **config.models.get(model, {})}
    given = {name: value for name, value in flags.items() if name != "model"}
    values = {**_defaults(run=False), **config.defaults, **own, **given}
    values["model"] = sources.whole(values["model"])
    precision = values.pop("precision")
    chosen = (replace(choice, precision=choice.precision or precision) for choice in values["backends"])
    kept = {name: value for name, value in values.items() if not FIELDS[name].run}
    options = Options(**{**kept, "backends": tuple(dict.fromkeys(chosen))})
    _check_together(options)
    _refuse_idle(flags, options)
    if model in config.models:
        return check_name(model), options
    return _default_name(options), options


def resolve_run(flags: Mapping[str, Any], config: ConfigFile) -> RunOptions:
    """Return what a user decides for the whole run: flags win over the file."""
    values = {**_defaults(run=True), **config.defaults, **flags}
    return RunOptions(**{name: value for name, value in values.items() if FIELDS[name].run})


def taken(config: ConfigFile, model: str) -> Told:
    """Return what a model is taken as, with a remark if its scheme was found; nothing is said of one that fails."""
    written = config.models.get(model, {}).get("model", model)
    try:
        return sources.taken(written)
    except SourceError:
        return Told(written)  # its row of the report says why


def default_options(model: str) -> Options:
    """Return the options of a model if the user says nothing."""
    values = _defaults(run=False)
    backends = tuple(replace(choice, precision=values["precision"]) for choice in values["backends"])
    del values["precision"]
    return Options(**{**values, "model": model, "backends": backends})


def _defaults(*, run: bool) -> dict[str, Any]:
    return {name: each.default for name, each in FIELDS.items() if each.run == run}


def _default_name(options: Options) -> str:
    """Return the name that the source gives a model; OptionError if Triton can't accept the published name."""
    name = sources.default_name(options.model)
    try:
        for choice in options.backends:
            published_name(name, options, choice)
    except OptionError as error:
        raise OptionError(error.message, f"{error.hint}{_naming_hint(options.model)}") from error
    return name


def _naming_hint(model: str) -> str:
    """Return how to give a model a different name, if its own comes from the name of a file."""
    if sources.default_name(model) == model:
        return ""
    return ". Give it one in a [models.NAME] table of modelrepo.toml, or with --name-template"


def _check_together(options: Options) -> None:
    release = releases.release_named(options.target_release)
    if options.opset > release.max_opset:
        raise OptionError(f"opset {options.opset} is too new: {release.limits}", "Lower --opset")
    if options.exporter == "torchscript" and not options.verify:
        raise OptionError(
            "the torchscript exporter records one run of the model, so its output must be verified",
            "Leave --no-verify or --exporter out",
        )
    for choice in options.backends:
        own = BACKENDS[choice.backend].instances
        if own.kind == "KIND_GPU" and options.instances and options.instances.kind not in ("KIND_GPU", "KIND_AUTO"):
            asked = options.instances.kind.removeprefix("KIND_").lower()
            raise OptionError(
                f"{choice.backend} needs a GPU, and --instances says {asked}",
                "Leave it out, or name gpu:COUNT",
            )
        if choice.precision not in BACKENDS[choice.backend].precisions:
            others = [name for name, backend in BACKENDS.items() if choice.precision in backend.precisions]
            raise OptionError(
                f"{choice.backend} can't serve {choice.precision}: it serves "
                f"{', '.join(BACKENDS[choice.backend].precisions)}",
                f"Backends that serve {choice.precision}: {', '.join(others)}",
            )
        if not options.verify and ("auto" in options.keep_precise or options.max_accuracy_drop is not None):
            raise OptionError("without verification the cost of a precision is unknown", "Leave --no-verify out")
    too_large = [size for size in options.preferred_batch_sizes if size > options.max_batch_size]
    if too_large:
        raise OptionError(
            f"preferred batch size {too_large[0]} is larger than the max batch size {options.max_batch_size}",
            "Triton refuses such a model: raise --max-batch-size",
        )


def _refuse_idle(flags: Mapping[str, Any], options: Options) -> None:
    """Refuse a flag that would do nothing; a file may say for many models what has no effect on one of them."""
    try:
        sources.find(options.model)
    except SourceError:  # the model's row of the report says why; the others are generated
        return
    for name in flags:
        if all(name in idle(choice, options) for choice in options.backends):
            made = options.model if name in idle_for_source(options) else ", ".join(map(str, options.backends))
            flag = f"--{name.replace('_', '-')}"
            raise OptionError(f"{flag} has no effect on {made}", f"It applies to: {', '.join(applies_to(name))}")
