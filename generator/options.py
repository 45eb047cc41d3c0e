"""From what a user wrote, on the command line or in ``modelrepo.toml``, to frozen ``Options``.

``FIELDS`` is the one table: the command line's flags, the file's keys and the reference page are made from it.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from generator import releases, sources
from generator.backends import BACKENDS
from generator.errors import OptionError, nearest
from generator.specs import Instances, Options, Tolerance, VersionPolicy

CONFIG_NAME = "modelrepo.toml"
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


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("expected text")
    return value


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


def _integer(minimum: int, maximum: int = 2**31 - 1) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        try:
            if isinstance(value, (bool, float)):
                raise ValueError
            number = int(value)
        except (TypeError, ValueError):
            raise ValueError("expected a whole number") from None
        if number < minimum:
            raise ValueError(f"expected at least {minimum}")
        if number > maximum:
            raise ValueError(f"expected at most {maximum}")
        return number

    return parse


def _items(value: Any, separator: str = ",") -> list[Any]:
    items = value.split(separator) if isinstance(value, str) else value
    if not isinstance(items, list) or not items or "" in items:
        raise ValueError("expected a list without gaps")
    return [item.strip() if isinstance(item, str) else item for item in items]


def _backends(value: Any) -> tuple[str, ...]:
    names = list(dict.fromkeys(map(_text, _items(value))))
    for name in names:
        if name not in BACKENDS:
            raise ValueError(f"unknown backend {name!r}. {nearest(name, BACKENDS)}")
    return tuple(names)


def _shape(value: Any) -> tuple[int, ...]:
    try:
        return tuple(map(_integer(1), _items(value, "x")))
    except ValueError:
        raise ValueError("expected sizes such as 3x224x224") from None


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
        if isinstance(value, bool):
            raise TypeError
        if isinstance(value, (int, float)) or list(parts.values()) == [""]:
            tolerance = Tolerance(float(value))
        else:
            tolerance = Tolerance(**{name: float(number) for name, number in parts.items()})
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
        check_name(template.format(model="model", backend="backend"))
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise ValueError("expected text with {model} and {backend} in it and no other fields") from error
    except OptionError as error:
        raise ValueError(str(error)) from error
    return template


# fmt: off
FIELDS: dict[str, Field] = {
    "model": Field(_text, None, "NAME", "Source model: a torchvision name, onnx:PATH, or a [models.NAME] of modelrepo.toml."),
    "backends": Field(_backends, ("onnx",), "LIST", f"What to build, of {', '.join(BACKENDS)}; comma-separated."),
    "repository": Field(_path, Path("model_repository"), "DIR", "Model repository to publish in.", path=True, run=True),
    "weights": Field(_text, "pretrained", "pretrained|random|PATH", "Weights: downloaded, seeded random, or a .pth, .pt or .safetensors file."),
    "seed": Field(_integer(0, 2**32 - 4), 0, "N", "Seed of random weights and of the inputs for verification."),
    "max_batch_size": Field(_integer(0), 16, "N", "Largest batch that Triton may form; 0 turns batching off."),
    "input_shape": Field(_shape, None, "DIMS", "Shape of one sample, such as 3x224x224; default: the model's own."),
    "opset": Field(_integer(9), 20, "N", "ONNX operator set, within what the target release reads."),
    "exporter": Field(_choice("auto", "torch.export", "torchscript"), "auto", "NAME", "How PyTorch models become ONNX: torch.export, torchscript (older; three times as fast), or auto: torch.export, and torchscript where that fails."),
    "name_template": Field(_name_template, "", "TEXT", "Published name, from {model} and {backend}; default: {model} for one backend, {model}_{backend} for several."),
    "preferred_batch_sizes": Field(_sizes, (), "LIST", "Batch sizes that the dynamic batcher prefers, such as 4,8."),
    "queue_delay_us": Field(_integer(0), 0, "N", "Microseconds that the dynamic batcher may wait to fill a batch."),
    "instances": Field(_instances, None, "KIND:COUNT", "Instance group, such as gpu:2 (auto, cpu, gpu, model); default: auto:1, TensorRT gpu:1."),
    "version_policy": Field(_version_policy, VersionPolicy("specific"), "POLICY", "specific (the published version), specific:1,2, latest:N or all."),
    "target_release": Field(_release, releases.NEWEST, "YY.MM", f"Triton release that will serve the models; bounds opset and IR. Default: {releases.NEWEST}."),
    "config_patch": Field(_file, None, "FILE", "ModelConfig protobuf text, merged over the generated config.pbtxt.", path=True),
    "templates": Field(_folder, None, "DIR", "Folder whose templates take the place of those with the same name.", path=True),
    "samples": Field(_file_or_folder, None, "FILE|DIR", "Samples of yours for verification: .npz, .npy, or a folder of them.", path=True),
    "tolerance": Field(_tolerance, None, "NUMBER", "Allowed difference, relative to each answer's largest magnitude, or relative=…,absolute=…."),
    "verify": Field(_boolean, True, "", "Compare the converted model with its source before it is published (the default)."),
    "trust_source": Field(_boolean, False, "", "Unpickle a weights file that holds code. It can run anything: only for files you trust."),
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
        if (FIELDS[key].path and isinstance(value, str) and (key, value) != ("client_dir", "none")) or (
            key == "weights" and value not in ("pretrained", "random") and isinstance(value, str)
        ):
            written = str(path.parent / Path(value).expanduser())
        elif key == "model" and isinstance(value, str):
            written = sources.seen_from(value, path.parent)
        values[key] = parse_field(key, written, f"{path}{where}: {key}")
    return values


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
    options = Options(**values)
    _check_together(options)
    if model in config.models:
        return check_name(model), options
    return _default_name(options), options


def _default_name(options: Options) -> str:
    """Return the name that the source gives a model, if Triton can take what becomes of it."""
    name = sources.default_name(options.model)
    try:
        for backend in options.backends:
            published_name(name, options, backend)
    except OptionError as error:
        raise OptionError(error.message, f"{error.hint}{_naming_hint(options.model)}") from error
    return name


def _naming_hint(model: str) -> str:
    """Return how a model is given another name, where its own comes from a file's."""
    if not sources.names_a_file(model):
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
    too_large = [size for size in options.preferred_batch_sizes if size > options.max_batch_size]
    if too_large:
        raise OptionError(
            f"preferred batch size {too_large[0]} is larger than the max batch size {options.max_batch_size}",
            "Triton refuses such a model: raise --max-batch-size",
        )


def published_name(name: str, options: Options, backend: str) -> str:
    """Return the name that a backend's model is published under."""
    template = options.name_template or ("{model}" if len(options.backends) == 1 else "{model}_{backend}")
    return check_name(template.format(model=name, backend=backend))
