"""The content key: whether a model would come out the same as last time, known before a framework is imported."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator import sources
from modelrepo.generator.backends import BACKENDS
from modelrepo.generator.backends.backend import Form
from modelrepo.generator.errors import SourceError
from modelrepo.generator.export import EXPORTERS
from modelrepo.generator.optimize import recipe_of
from modelrepo.generator.options.relevance import idle
from modelrepo.generator.sources.content import refuse_pipe
from modelrepo.generator.specs.options import Calibration, Choice, Options
from modelrepo.generator.specs.preparation import WRAPPED
from modelrepo.generator.system.digests import digest_tree, sha256_of
from modelrepo.generator.system.extras import version_of
from modelrepo.generator.system.templates import CONFIG_TEMPLATE, TEMPLATES

# Options that do not change the published files.
NOT_CONTENT = (
    "backends",
    "name_template",
    "plan_builder",
    "allow_untrained",
    "trust_source",
    "verify",
    "verify_effort",
)
# Options that name files: their content counts, not their path.
FILES = ("weights", "config_patch", "templates", "samples", "calibration", "labels")
# Grows when conversions are mended, or verification asks more: what was published before is then made and proven again.
# The first release had 1 and did not write it.
PROOF = 4
SIMPLIFYING = ("onnxslim",)
ALWAYS = ("modelrepo", "onnx", "onnxruntime", "numpy", "jinja2")


@dataclass(frozen=True)
class ContentKey:
    """A digest, and the options and tool versions that it was made from."""

    digest: str
    options: dict[str, Any]
    tools: dict[str, str]


def content_key(name: str, choice: Choice, options: Options) -> ContentKey:
    """Digest everything that decides a published model: source, weights, options, templates and tool versions.

    Files count by content, and options only if they have an effect. Raises SourceError if the model or its weights are
    not a file.
    """
    source, model = sources.find(options.model)
    recipe = None if choice.precision == "fp32" else recipe_of(choice.precision)
    ignored = {*NOT_CONTENT, *idle(choice, options)}
    written = _plain({field: value for field, value in asdict(options).items() if field not in ignored})
    wrapping = (WRAPPED,) if options.with_preprocessing or options.with_postprocessing else ()
    packages = {
        *ALWAYS,
        *source.packages,
        *(recipe.packages if recipe else ()),
        *(SIMPLIFYING if options.simplify and "simplify" not in ignored else ()),
        *_exporting((*source.frameworks, *wrapping), BACKENDS[choice.backend].form),
    }
    tools = {package: version for package in sorted(packages) if (version := version_of(package))}
    tools |= recipe.tools if recipe else {}
    contents = {
        "source": [sha256_of(file) for file in source.files(model)],
        "weights": _weights_digest(options.weights),
        "config_patch": options.config_patch and sha256_of(options.config_patch),
        "templates": options.templates and digest_tree(options.templates),
        "samples": options.samples and digest_tree(options.samples),
        "labels": options.labels and sha256_of(options.labels),
        "calibration": None if "calibration" in ignored else _calibration_digest(options.calibration),
        "template": sha256_of(TEMPLATES / CONFIG_TEMPLATE),
    }
    counted = {field: value for field, value in written.items() if field not in FILES}
    document = {
        "name": name,
        "choice": str(choice),
        "options": counted,
        "tools": tools,
        "contents": contents,
        "proof": PROOF,
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    return ContentKey(digest, written, tools)


def _exporting(frameworks: Iterable[str], form: Form) -> set[str]:
    """Return the distributions that export models of these frameworks to a form."""
    exporters = [EXPORTERS.get((framework, form.name)) for framework in frameworks]
    return {package for exporter in exporters if exporter for package in exporter.packages}


def _calibration_digest(calibration: Calibration) -> dict[str, str] | str:
    return digest_tree(calibration.path) if calibration.path else f"{calibration.count} random"


def _weights_digest(weights: str) -> str:
    if weights in ("pretrained", "random"):
        return weights
    try:
        refuse_pipe(Path(weights))
        return sha256_of(Path(weights))
    except OSError as error:
        raise SourceError(
            f"can't read weights from {weights!r}: {error.strerror}",
            "Weights are pretrained, random, or the path of a .pth, .pt or .safetensors file",
        ) from error


def _plain(value: Any) -> Any:
    """Return a value as JSON would give it back, so that what is digested is what a manifest holds."""
    return json.loads(json.dumps(value, default=str))
