"""From what a user wrote, on the command line or in ``modelrepo.toml``, to frozen ``Options``.

``FIELDS`` is the one table: the command line's flags, the file's keys and the reference page are made from it.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from generator import sources
from generator.backends import BACKENDS
from generator.errors import OptionError, nearest
from generator.optimize import PRECISIONS, recipe_of
from generator.specs.tensors import Calibration, Choice, Instances, Options, Pruning, Ranges, Tolerance, VersionPolicy
from generator.specs.written import input_shapes
from generator.specs.written import integer as _integer
from generator.specs.written import items as _items
from generator.specs.written import text as _text
from generator.triton import releases

CONFIG_NAME = "modelrepo.toml"
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
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
INSTANCE_KINDS = ("auto", "cpu", "gpu", "model")


@dataclass(frozen=True)
class Field:
    """One option: how a written value is read, its default, and how help pages show it."""

    parse: Callable[[Any], Any]
    default: Any
    metavar: str
    help: str
    flag: bool = True  # has a command-line flag
    path: bool = False  # relative to the file it is written in
    run: bool = False  # belongs to the whole run, not to one model


@dataclass(frozen=True)
class ConfigFile:
    """What ``modelrepo.toml`` says: ``defaults`` for every model, and what each of ``models`` sets itself."""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def check_name(name: str) -> str:
    """Return ``name`` if Triton and a file system can take it as a model's name, else raise OptionError."""
    if not MODEL_NAME.fullmatch(name):
        raise OptionError(
            f"{name!r} can't be a model's name",
            "Names start with a letter or digit and go on with letters, digits, '_', '.' and '-'",
        )
    return name


def _path(value: Any) -> Path:
    return Path(_text(value)).expanduser()


def _file(value: Any) -> Path:
    path = _path(value)
    if not path.is_file():
        raise ValueError("no such file")
    return path


def _folder(value: Any) -> Path:
    path = _path(value)
    if not path.is_dir():
        raise ValueError("no such folder")
    return path


def _file_or_folder(value: Any) -> Path:
    return _folder(value) if _path(value).is_dir() else _file(value)


def _client_dir(value: Any) -> Path | None:
    path = _path(value)
    if value == "none":
        return None
    if path.exists() and not (path.is_dir() and os.access(path, os.W_OK)):
        raise ValueError("not a folder that can be written")
    return path


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _choice(*words: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(f"expected {', '.join(words[:-1])} or {words[-1]}")
        return str(value)

    return parse


def _backends(value: Any) -> tuple[Choice, ...]:
    """Read backends; one that names no precision has an empty one, which ``resolve`` fills in."""
    choices = [Choice(*map(str.strip, _text(item).partition(":")[::2])) for item in _items(value)]
    if any(str(item).strip().endswith(":") for item in _items(value)):
        raise ValueError("expected a precision behind the colon, such as onnx:fp16")
    for choice in choices:
        if choice.backend not in BACKENDS:
            raise ValueError(f"unknown backend {choice.backend!r}. {nearest(choice.backend, BACKENDS)}")
        if choice.precision:
            _precision(choice.precision)
    return tuple(dict.fromkeys(choices))


def _precision(value: Any) -> str:
    if value not in PRECISIONS:
        raise ValueError(f"unknown precision {value!r}. {nearest(str(value), PRECISIONS)}")
    return str(value)


def _fraction(value: Any) -> float:
    """Read a share such as 0.01 or 1%; a whole number could be meant as either."""
    try:
        if isinstance(value, bool):
            raise ValueError
        percent = isinstance(value, str) and value.endswith("%")
        number = float(value[:-1]) / 100 if percent else float(value)
        if not percent and number >= 1:
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError("expected a share such as 1% or 0.01; for all of it 100%") from None
    if not 0 <= number <= 1:
        raise ValueError("expected a share from 0% to 100%")
    return number


def _pruning(value: Any) -> Pruning | None:
    if value == "none":
        return None
    if value == "2:4":
        return Pruning(structured=True)
    try:
        share = _fraction(value)
        if not 0 < share < 1:
            raise ValueError
    except ValueError:
        raise ValueError("expected 2:4, or a share above 0% and below 100%") from None
    return Pruning(share)


def _calibration(value: Any) -> Calibration:
    words = value.split() if isinstance(value, str) else []
    if words[1:] == ["random"]:
        return Calibration(count=_integer(1)(words[0]))
    return Calibration(path=_file_or_folder(value))


def _names(value: Any) -> tuple[str, ...]:
    return () if value in ("none", []) else tuple(map(_text, _items(value)))


def _profiles(value: Any) -> tuple[Ranges, ...]:
    """Read profiles such as ``batch=1:8:16,seq=16:128:512; batch=1:1:1,seq=1:64:128``."""
    profiles = [_ranges(_text(profile)) for profile in _items(value, ";")] if value != [] else []
    return tuple(profiles)


def _ranges(text: str) -> Ranges:
    ranges: dict[str, tuple[int, int, int]] = {}
    for part in _items(text):
        dim, equals, written = part.partition("=")
        sizes = [*map(_integer(1), written.split(":"))] if equals and written else []
        if not dim or len(sizes) not in (1, 3):
            raise ValueError("expected DIMENSION=MIN:OPT:MAX, such as batch=1:8:16,seq=16:128:512")
        low, tuned, high = sizes * 3 if len(sizes) == 1 else sizes
        if not low <= tuned <= high:
            raise ValueError(f"{part}: expected MIN:OPT:MAX in rising order")
        if dim in ranges:
            raise ValueError(f"{dim!r} is there twice")
        ranges[dim] = (low, tuned, high)
    return ranges


def _dynamic(value: Any) -> Mapping[str, Mapping[int, str]]:
    """Read ``ids:0=batch,1=seq;mask:0=batch,1=seq``, or such a mapping; a name that is empty is a single input's."""
    if isinstance(value, Mapping):
        return {name: {_integer(0)(axis): _text(dim) for axis, dim in axes.items()} for name, axes in value.items()}
    read: dict[str, dict[int, str]] = {}
    for part in _items(value, ";"):
        name, _, axes = _text(part).rpartition(":")
        if name in read:
            raise ValueError(f"input {name!r} is there twice")
        pairs = [*map(_axis, _items(axes))]
        read[name] = dict(pairs)
        if len(read[name]) < len(pairs):
            raise ValueError(f"an axis of {name!r} is there twice")
    return read


def _axis(text: str) -> tuple[int, str]:
    axis, equals, dim = text.partition("=")
    if not equals or not axis.isdigit() or not dim.isidentifier():
        raise ValueError("expected INPUT:AXIS=NAME,…, such as ids:0=batch,1=seq;mask:0=batch,1=seq")
    return int(axis), dim


def _sizes(value: Any) -> tuple[int, ...]:
    if value == []:
        return ()
    return tuple(sorted(set(map(_integer(1), _items(value)))))


def _instances(value: Any) -> Instances:
    kind, _, count = _text(value).partition(":")
    if kind not in INSTANCE_KINDS:
        raise ValueError(f"expected KIND:COUNT with a kind of {', '.join(INSTANCE_KINDS)}")
    return Instances(f"KIND_{kind.upper()}", _integer(1)(count or "1"))


def _version_policy(value: Any) -> VersionPolicy:
    kind, _, detail = _text(value).partition(":")
    if kind == "specific":
        return VersionPolicy("specific", _sizes(detail) if detail else ())
    if kind == "latest":
        return VersionPolicy("latest", num_versions=_integer(1)(detail or "1"))
    if kind == "all" and not detail:
        return VersionPolicy("all")
    raise ValueError("expected specific, specific:1,2, latest:N or all")


def _tolerance(value: Any) -> Tolerance:
    parts = dict(part.partition("=")[::2] for part in _items(value)) if isinstance(value, str) else {}
    try:
        if isinstance(value, bool) or not (parts or isinstance(value, (int, float))):
            raise TypeError
        if not parts or list(parts.values()) == [""]:
            tolerance = Tolerance(float(value))
        else:
            tolerance = Tolerance(**{"relative": 0.0, **{name: float(number) for name, number in parts.items()}})
    except (TypeError, ValueError):
        raise ValueError("expected a number such as 1e-3, or relative=1e-3,absolute=1e-6") from None
    if not (0 <= tolerance.relative < float("inf") and 0 <= tolerance.absolute < float("inf")):
        raise ValueError("expected numbers of at least 0")
    return tolerance


def _release(value: Any) -> str:
    return releases.release_named(_text(value)).container


def _name_template(value: Any) -> str:
    if value == "":
        return ""
    template = _text(value)
    try:
        check_name(template.format(model="model", backend="backend", precision="fp16"))
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise ValueError("expected text with {model}, {backend} and {precision} in it and no other fields") from error
    except OptionError as error:
        raise ValueError(str(error)) from error
    return template


# fmt: off
FIELDS: dict[str, Field] = {
    "model": Field(_text, None, "NAME", "Source model: SCHEME:NAME, such as timm:convnext_atto, hf:./folder or keras:model.keras; a torchvision name; or a [models.NAME] of modelrepo.toml. `modelrepo models` lists them."),
    "backends": Field(_backends, (Choice("onnx", ""),), "LIST", f"What to build, of {', '.join(BACKENDS)}; comma-separated, each with a precision of its own if wanted: onnx,tensorrt:fp16."),
    "precision": Field(_precision, "fp32", "NAME", f"Precision of the backends that name none: {', '.join(PRECISIONS)}."),
    "repository": Field(_path, Path("model_repository"), "DIR", "Model repository to publish in.", path=True, run=True),
    "weights": Field(_text, "pretrained", "pretrained|random|PATH", "Weights: downloaded, seeded random, or a .pth, .pt or .safetensors file."),
    "seed": Field(_integer(0, 2**32 - 4), 0, "N", "Seed of random weights and of the inputs for verification."),
    "max_batch_size": Field(_integer(0), 16, "N", "Largest batch that Triton may form; 0 turns batching off."),
    "input_shape": Field(input_shapes, (), "SHAPES", "Example of each input, NAME=1x3x224x224:float32,…, or the shape of one image, such as 3x224x224; default: the model's own."),
    "dynamic": Field(_dynamic, {}, "AXES", "Dimensions of any size, INPUT:AXIS=NAME,…, such as ids:0=batch,1=seq;mask:0=batch,1=seq. Default: the batch, and what the model itself says."),
    "make_batch_dynamic": Field(_boolean, False, "", "Rewrite an ONNX file whose batch size is fixed, if that can be proven to change nothing."),
    "task": Field(_text, "", "NAME", "What a transformers model is for, such as text-classification; default: what its configuration says."),
    "signature": Field(_text, "", "NAME", "Signature of a SavedModel; default: serving_default, or its only one."),
    "opset": Field(_integer(9), 20, "N", "ONNX operator set, within what the target release reads."),
    "exporter": Field(_choice("auto", "torch.export", "torchscript"), "auto", "NAME", "How PyTorch models become ONNX: torch.export, torchscript (older; three times as fast), or auto: torch.export, and torchscript where that fails."),
    "name_template": Field(_name_template, "", "TEXT", "Published name, from {model}, {backend} and {precision}; default: {model} for one backend, {model}_{backend} for several, with _pruned and _{precision} after it where the model is pruned or not fp32."),
    "preferred_batch_sizes": Field(_sizes, (), "LIST", "Batch sizes that the dynamic batcher prefers, such as 4,8."),
    "queue_delay_us": Field(_integer(0), 0, "N", "Microseconds that the dynamic batcher may wait to fill a batch."),
    "instances": Field(_instances, None, "KIND:COUNT", "Instance group, such as gpu:2 (auto, cpu, gpu, model); default: auto:1, TensorRT gpu:1."),
    "version_policy": Field(_version_policy, VersionPolicy("specific"), "POLICY", "specific (the published version), specific:1,2, latest:N or all."),
    "target_release": Field(_release, releases.NEWEST, "YY.MM", f"Triton release that will serve the models; bounds opset and IR. Default: {releases.NEWEST}."),
    "config_patch": Field(_file, None, "FILE", "ModelConfig protobuf text, merged over the generated config.pbtxt.", path=True),
    "templates": Field(_folder, None, "DIR", "Folder whose templates take the place of those with the same name.", path=True),
    "samples": Field(_file_or_folder, None, "FILE|DIR", "Samples of yours for verification: .npz, .npy, images, or a folder of them; with labels (an array of that name, or a folder a class) they measure accuracy.", path=True),
    "simplify": Field(_boolean, False, "", "Clean the graph up: fold constants, drop what is not used, fuse what transformers have."),
    "prune": Field(_pruning, None, "SHARE|2:4", "Make the smallest weights of each layer zero: a share such as 50%, or 2 of every 4, as sparse Tensor Cores want it."),
    "calibration": Field(_calibration, Calibration(), "DIR|FILE|'N random'", "What INT8 and FP8 are calibrated with: a folder of images or samples, a .npz, or random inputs (which a warning advises against). Default: 64 random.", path=True),
    "calibration_method": Field(_choice("minmax", "entropy", "percentile"), "minmax", "NAME", "How ranges are found in calibration: minmax, entropy or percentile."),
    "max_accuracy_drop": Field(_fraction, None, "SHARE", "How much accuracy a lower precision or pruning may cost, such as 1%: of labelled samples, else of top-1 agreement with the source. Default: FP16 and BF16 1%, INT8, FP8 and pruning 3%."),
    "keep_precise": Field(_names, (), "auto|LIST", "Layers that keep FP32: names, or auto: those that cost the most, until the accuracy is within its limit."),
    "profiles": Field(_profiles, (), "LIST", "TensorRT's optimization profiles, DIMENSION=MIN:OPT:MAX,…; several are separated by ';'. Default: batch=1:PREFERRED:MAX."),
    "plan_builder": Field(_choice("auto", "process", "container", "defer"), "auto", "WAY", "Where TensorRT plans are built: in a process of this Python, in the serving container, later (defer), or auto: wherever it can be done here."),
    "version_compatible": Field(_boolean, False, "", "Build plans that newer TensorRT releases load, too; Triton then needs --backend-config=tensorrt,version-compatible=true."),
    "cuda_graphs": Field(_boolean, False, "", "Let Triton capture CUDA graphs of a TensorRT plan."),
    "tolerance": Field(_tolerance, None, "NUMBER", "Allowed difference, relative to each answer's largest magnitude, or relative=…,absolute=…."),
    "verify": Field(_boolean, True, "", "Compare the converted model with its source before it is published (the default)."),
    "trust_source": Field(_boolean, False, "", "Load what runs code of its own: pickles, Hugging Face models with their own code. It can do anything: only for what you trust."),
    "live_check": Field(_choice("auto", "require", "off"), "auto", "auto|require|off", "Ask each model in a real Triton on this machine before it is published: wherever that is possible, always, or not at all. The first time, Triton (55 MB) is downloaded.", run=True),
    "client_dir": Field(_client_dir, Path("clients/generated"), "DIR", "Folder for a typed Python client of each model; none writes no clients.", path=True, run=True),
    "allow_untrained": Field(_boolean, False, "", "Fall back to seeded random weights where pretrained ones can't be downloaded.", flag=False),
}
# fmt: on


def load_config(path: Path | None) -> ConfigFile:
    """Read ``path``, or ``modelrepo.toml`` of the current folder where there is one.

    Raises OptionError for a file that can't be read, a key that is not in ``FIELDS``, or a value of the wrong kind.
    """
    if path is None:
        path = Path(CONFIG_NAME)
        if not path.exists():
            return ConfigFile()
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise OptionError(f"can't read {path}: {error.strerror}") from error
    except ValueError as error:  # TOML, UTF-8, or a number of thousands of digits
        raise OptionError(f"{path} is not valid TOML: {error}") from error
    models = document.pop("models", {})
    if not isinstance(models, dict) or not all(isinstance(table, dict) for table in models.values()):
        raise OptionError(f"{path}: models must be tables such as [models.resnet50]")
    for name in models:
        check_name(name)
    known = [name for name in FIELDS if name != "model"]
    defaults = _read_keys(document, [*known, "models"], path, "")
    own = [name for name, field_ in FIELDS.items() if not field_.run]
    return ConfigFile(
        defaults,
        {name: _read_keys(table, own, path, f" in [models.{name}]") for name, table in models.items()},
    )


def default_repository() -> Path:
    """Return the repository that ``modelrepo.toml`` of the current folder names, or the default."""
    return Path(load_config(None).defaults.get("repository", FIELDS["repository"].default))


def _read_keys(table: Mapping[str, Any], known: list[str], path: Path, where: str) -> dict[str, Any]:
    values = {}
    for key, value in table.items():
        if key not in known:
            raise OptionError(f"{path}: unknown key {key!r}{where}", nearest(key, known, count=1))
        written = value
        if (FIELDS[key].path and isinstance(value, str) and not _names_no_file(key, value)) or (
            key == "weights" and value not in ("pretrained", "random") and isinstance(value, str)
        ):
            written = str(path.parent / Path(value).expanduser())
        elif key == "model" and isinstance(value, str):
            written = sources.seen_from(value, path.parent)
        values[key] = parse_field(key, written, f"{path}{where}: {key}")
    return values


def _names_no_file(key: str, value: str) -> bool:
    """Tell whether the value of a key that may be a path is a word instead."""
    return (key, value) == ("client_dir", "none") or (key == "calibration" and value.endswith(" random"))


def parse_field(name: str, value: Any, where: str) -> Any:
    """Read one written value; OptionError says where it stands and what was expected."""
    try:
        return FIELDS[name].parse(value)
    except ValueError as error:
        raise OptionError(f"{where} = {value!r}: {error}") from error


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
            raise OptionError(
                f"{choice.backend} needs a GPU, and --instances says {options.instances.kind.removeprefix('KIND_').lower()}",
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


def idle(choice: Choice, options: Options) -> set[str]:
    """Return the fields of ``options`` that are no matter to what is made for one of their choices."""
    lowered = choice.precision != "fp32"
    calibrated = lowered and recipe_of(choice.precision).CALIBRATED
    others = {option for backend in BACKENDS.values() for option in backend.OPTIONS}
    return {
        *(others - {*BACKENDS[choice.backend].OPTIONS}),
        *_idle_for_source(options),
        *(() if calibrated else ("calibration", "calibration_method")),
        *(() if lowered else ("keep_precise",)),
        *(() if lowered or options.prune else ("max_accuracy_drop",)),
    }


def _idle_for_source(options: Options) -> set[str]:
    others = {option for source in sources.SOURCES.values() for option in source.OPTIONS}
    source, _ = sources.find(options.model)
    return others - {*source.OPTIONS}


def _refuse_idle(flags: Mapping[str, Any], options: Options) -> None:
    """Refuse a flag that would do nothing; what a file says for many models may be no matter to one of them."""
    for name in flags:
        if all(name in idle(choice, options) for choice in options.backends):
            flag = f"--{name.replace('_', '-')}"
            if name in _idle_for_source(options):
                schemes = [scheme for scheme, source in sources.SOURCES.items() if name in source.OPTIONS]
                raise OptionError(f"{flag} is no matter to {options.model}", f"It is for {', '.join(schemes)}")
            choices = ", ".join(map(str, options.backends))
            raise OptionError(f"{flag} is no matter to {choices}", WANTING[name])


def published_name(name: str, options: Options, choice: Choice) -> str:
    """Return the name that a choice's model is published under."""
    pruned = "_pruned" if options.prune else ""
    lowered = "" if choice.precision == "fp32" else "_{precision}"
    own = "{model}" if len(options.backends) == 1 else "{model}_{backend}"
    template = options.name_template or f"{own}{pruned}{lowered}"
    # Triton takes no "+" in a name.
    return check_name(template.format(model=name, backend=choice.backend.replace("+", "-"), precision=choice.precision))
