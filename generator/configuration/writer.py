"""From decisions to the text of a config.pbtxt, parsed back and checked against them."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator.configuration import sequences
from modelrepo.generator.configuration.decisions import Decisions, ServedTensor
from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.options import VersionPolicy
from modelrepo.generator.system.templates import CONFIG_TEMPLATE, TEMPLATES, environment
from modelrepo.generator.triton import pbtxt


@dataclass(frozen=True)
class Config:
    """The config.pbtxt of a model that will be published: all but the version's number is certain."""

    writer: "ConfigWriter"
    decisions: Decisions
    preview: str  # the text for the version that it will most likely be
    max_batch_size: int  # a patch may have lowered what was decided

    def text(self, version: int, existing: Collection[int] = ()) -> str:
        """Return the text for a version that joins those ``standing``; errors as of ``ConfigWriter.render``."""
        return self.writer.render(self.decisions, version, existing)


class ConfigWriter:
    """Renders configurations with our templates, or with those of a folder that replace them."""

    def __init__(self, templates: Path | None = None, patch: Path | None = None) -> None:
        if templates is not None and not (templates / CONFIG_TEMPLATE).is_file():
            raise OptionError(
                f"{templates} does not have {CONFIG_TEMPLATE}",
                f"Copy {TEMPLATES / CONFIG_TEMPLATE} there and change it",
            )
        self._environment = environment([templates] if templates else [])
        self._environment.filters["pbtxt"] = pbtxt.quote
        self._path = (templates or TEMPLATES) / CONFIG_TEMPLATE
        self._template = self._load()
        self._patch = _parse_file(patch) if patch else None

    def _load(self) -> Any:
        """Compile the template and check the names it uses, before any model is loaded."""
        import jinja2
        from jinja2 import meta

        try:
            tree = self._environment.parse(self._path.read_text("utf-8"))
            template = self._environment.get_template(CONFIG_TEMPLATE)
        except jinja2.TemplateSyntaxError as error:
            raise OptionError(f"{self._path}, line {error.lineno}: {error.message}") from error
        except (OSError, UnicodeDecodeError, jinja2.TemplateError) as error:
            raise OptionError(f"can't read the template {self._path}: {error}") from error
        unknown = meta.find_undeclared_variables(tree) - {*_context_names(), *self._environment.globals}
        if unknown:
            raise OptionError(
                f"{self._path}: {min(unknown)!r} is undefined",
                f"A template can use: {', '.join(sorted(_context_names()))}",
            )
        return template

    def config(self, decisions: Decisions, version: int, existing: Collection[int]) -> Config:
        """Return the configuration of a model that will most likely be this version; arguments as of ``render``."""
        text = self.render(decisions, version, existing)
        return Config(self, decisions, text, pbtxt.max_batch_size(text))

    def render(self, decisions: Decisions, version: int, existing: Collection[int] = ()) -> str:
        """Return the text of ``config.pbtxt`` for a version that joins the ``existing`` ones in the model's folder.

        The text is proven to be a ModelConfig that agrees with what is published; OptionError if a template or a
        patch contradicts it.
        """
        policy = decisions.version_policy
        if policy.kind == "specific" and not policy.versions:
            policy = VersionPolicy("specific", (version,))
        try:
            text = str(self._template.render({**vars(decisions), "version_policy": policy}))
        except Exception as error:  # a template may raise any error
            raise OptionError(f"{self._path}: {error}") from error
        message = pbtxt.parse(text, str(self._path))
        patched = self._patch is not None and self._patch.ListFields()
        if patched:
            pbtxt.merge(message, self._patch)
        if sequences.leave_to_batcher(message, self._patch) or patched:
            text = f"# {decisions.comment}\n{pbtxt.to_text(message)}"
        problem = _disagreement(message, decisions, {version, *existing})
        if problem:
            raise OptionError(
                f"the configuration of {decisions.name} {problem}", "Check --config-patch and --templates"
            )
        return text


def _context_names() -> set[str]:
    return set(Decisions.__dataclass_fields__)


def _parse_file(path: Path) -> Any:
    try:
        return pbtxt.parse(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"can't read the config patch {path}: {error}") from error


def _disagreement(config: Any, decisions: Decisions, versions: Collection[int]) -> str | None:
    """Return how a configuration contradicts the published files or the verified model; None if it does not.

    What Triton refuses for other reasons is found when the model is judged as `check` does, before it is built.
    """
    for field, value in (("name", decisions.name), ("backend", decisions.backend), ("platform", "")):
        if getattr(config, field) != value:
            return f"says {field}: {getattr(config, field)!r}, but must say {value!r}"
    if config.default_model_filename or config.cc_model_filenames:
        return "names a different model file than the published one"
    if config.max_batch_size != decisions.max_batch_size and not 0 < config.max_batch_size < decisions.max_batch_size:
        return f"says max_batch_size: {config.max_batch_size}, but the model was made for {decisions.max_batch_size}"
    absent = set(config.version_policy.specific.versions) - set(versions)
    if absent:
        return f"lists version {min(absent)}, which does not exist"
    inputs, outputs = sequences.listed(config, decisions)
    return (
        sequences.disagreement(config, decisions)
        or _tensor_disagreement("input", config.input, inputs)
        or _tensor_disagreement("output", config.output, outputs)
    )


def _tensor_disagreement(kind: str, written: Any, planned: tuple[ServedTensor, ...]) -> str | None:
    from tritonclient.grpc import model_config_pb2

    if sorted(tensor.name for tensor in written) != sorted(tensor.name for tensor in planned):
        names = ", ".join(tensor.name for tensor in planned)
        return f"lists the {kind}s {', '.join(tensor.name for tensor in written) or 'none'}, but the model has {names}"
    by_name = {tensor.name: tensor for tensor in planned}
    for tensor in written:
        wanted = by_name[tensor.name]
        dims = tuple(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
        data_type = model_config_pb2.DataType.Name(tensor.data_type)
        if (dims, data_type) != (wanted.dims, wanted.data_type):
            right = f"{wanted.data_type}{list(wanted.dims)}"
            return f"says {data_type}{list(dims)} of {tensor.name}, but the model has {right}"
        if kind == "input" and tensor.optional != wanted.optional:
            return f"says {tensor.name} is {_kind(tensor.optional)}, but it is {_kind(wanted.optional)}"
        if kind == "output" and tensor.label_filename not in ("", wanted.labels):
            return f"names the label file {tensor.label_filename!r}, which is not published"
    return None


def _kind(optional: bool) -> str:
    return "optional" if optional else "required"
