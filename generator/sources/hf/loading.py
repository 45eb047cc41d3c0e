"""Models built by transformers from a configuration, with the folder's weights or random ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ModelRepoError, SourceError
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import pytorch
from modelrepo.generator.sources.hf import folder as folders
from modelrepo.generator.sources.hf import tasks
from modelrepo.generator.sources.hf.hub import HF
from modelrepo.generator.sources.pytorch import weights_size
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.system import memory
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.system.extras import need
from modelrepo.generator.system.quiet import quiet

# Attention as plain matrix products, which every exporter writes.
ATTENTION = "eager"
# The output of a layer that masked language models are saved without.
POOLER = "pooler_output"
# Experts as one batched product: the other, faster ways use loops and operators that ONNX does not have.
EXPERTS = "batched_mm"
# The hint for a configuration that transformers refuses.
CHECK = "Compare it with the configuration that transformers saves, or download it again"


@dataclass(frozen=True)
class Loaded:
    """A model built for a task: its outputs, the labels of a classifier, and notes for the user."""

    model: Any
    task: str
    outputs: tuple[str, ...]
    labels: tuple[str, ...]
    weights: Weights
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Maker:
    """Builds a model from a configuration: with an auto class, and with the model's own code if that is trusted."""

    auto: Any
    config: Any
    trust: bool

    def empty(self) -> Any:
        """Return the model with untrained weights, in float32."""
        return self.auto.from_config(self.config, **self._settings())

    def filled(self, folder: Path, files: tuple[Path, ...]) -> tuple[Any, Mapping[str, Any]]:
        """Return the model with a folder's weights, and those of them that were missing or had another shape."""
        try:
            model, found = self.auto.from_pretrained(
                folder,
                config=self.config,
                **self._settings(),
                local_files_only=True,
                use_safetensors=files[0].suffix == ".safetensors",
                weights_only=not self.trust,
                ignore_mismatched_sizes=True,  # reported by name, instead of in a table on the terminal
                output_loading_info=True,
            )
        except Exception as error:  # torch, safetensors and the model's own code raise many kinds
            raise _unreadable(files, error) from error
        return model, found

    def _settings(self) -> dict[str, Any]:
        import torch

        return {"dtype": torch.float32, "attn_implementation": ATTENTION, "trust_remote_code": self.trust}


def load(folder: Path, reference: str, options: Options, progress: Progress) -> Loaded:
    """Return the model of a folder with the weights that the options ask for.

    Raises SourceError for a configuration that transformers does not know, for code that is not trusted, for weights
    that are missing, broken or of another task, and if there is not enough memory.
    """
    transformers = need("transformers", HF)
    need("safetensors", HF)
    with quiet():
        transformers.utils.logging.disable_progress_bar()
        config = _configuration(folder, reference, options.trust_source)
        name, task = tasks.choose(config, options.task, reference)
        maker = _Maker(task.builder(config), config, options.trust_source)
        files = _files(folder, reference, options, progress)
        try:
            memory.check(weights_size.of_built(maker.empty), reference)
            model, found = maker.filled(folder, files) if files else (pytorch.seeded(maker.empty, options.seed), {})
        except (ModelRepoError, MemoryError):
            raise
        except Exception as error:  # any error of the model's code
            raise SourceError(f"can't build {reference}: {pytorch.cause(error)}", CHECK) from error
    _refuse_unfit(found, reference, type(model).__name__)
    notes = [] if options.task or config.architectures else [f"its configuration names no model, so its task is {name}"]
    outputs = task.outputs
    if found.get("missing_keys"):
        outputs = tuple(each for each in outputs if each != POOLER)
        notes.append(f"{POOLER} is left out: its layer has no weights")
    unused = sorted(found.get("unexpected_keys", ()))
    if unused and name not in tasks.BARE:
        trained = ", ".join(config.architectures or ("another model",))
        notes.append(f"{len(unused)} of its weights are not used, {unused[0]} among them: it was trained as {trained}")
    if name == tasks.ENCODED and config.is_encoder_decoder and hasattr(model, "get_decoder"):
        model = model.get_encoder()
    if getattr(model, "_can_set_experts_implementation", bool)():
        model.set_experts_implementation(EXPERTS)
    labels = labels_of(config) if task.labelled else ()
    return Loaded(model.eval(), name, outputs, labels, _origin(folder, files, options.seed), tuple(notes))


def answering(loaded: Loaded, names: tuple[str, ...]) -> Any:
    """Return a module that takes the named inputs in order, and returns the outputs of its task by name.

    If a model's own code returns none of those, it returns all outputs.
    """
    import torch

    class Answering(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = loaded.model

        def forward(self, *tensors: Any) -> Any:
            answer = self.model(**dict(zip(names, tensors, strict=True)))
            if not isinstance(answer, Mapping):
                return answer
            return {name: answer[name] for name in loaded.outputs if answer.get(name) is not None} or dict(answer)

    return Answering().eval()


def refuse(written: Mapping[str, Any], reference: str, trust: bool) -> None:
    """Raise SourceError for a configuration with code of its own, unless that is trusted, and for quantized weights.

    Code is refused even if transformers has a model of that type, since that may compute something else.
    """
    if written.get("auto_map") and not trust:
        raise SourceError(
            f"{reference} has code of its own (auto_map in its {folders.CONFIG})",
            "Read it, and allow it to run with --trust-source if you trust it",
        )
    quantized = written.get("quantization_config")
    if quantized:
        method = quantized.get("quant_method") if isinstance(quantized, Mapping) else None
        raise SourceError(
            f"the weights of {reference} are quantized ({method or 'quantization_config'})",
            "Name the model that they were made of, and lower its precision here: --backends onnx:int8",
        )


def _configuration(folder: Path, reference: str, trust: bool) -> Any:
    """Return transformers' configuration of a folder, with the outputs turned off that a served model never returns."""
    transformers = need("transformers", HF)
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=trust, local_files_only=True)
    except Exception as error:  # ValueError, KeyError, TypeError, and any error of the model's own code
        kind = folders.configuration(folder).get("model_type")
        if kind not in transformers.CONFIG_MAPPING and not trust:
            raise SourceError(
                f"transformers {transformers.__version__} does not know the type of {reference}: {kind!r}",
                "Upgrade transformers, or export the model yourself and name onnx:FILE",
            ) from error
        raise SourceError(f"can't use {folder / folders.CONFIG}: {pytorch.cause(error)}", CHECK) from error
    config.return_dict = True
    config.architectures = config.architectures or []  # None fails if there are several models for a task
    for each in (config, config.get_text_config(decoder=True), config.get_text_config(decoder=False)):
        each.use_cache = each.output_attentions = each.output_hidden_states = False
    config.onnx_export = True  # makes Longformer and LED build overlapping windows with operators instead of strides
    return config


def _files(folder: Path, reference: str, options: Options, progress: Progress) -> tuple[Path, ...]:
    """Return the files of weights to load; none if they are to be random, or are missing and may be random."""
    if options.weights == "random":
        return ()
    try:
        return folders.weights(folder).checked(options.trust_source)
    except SourceError as error:
        if not options.allow_untrained:
            raise
        progress.warn(
            f"{error.message}; {reference} gets RANDOM weights (seed {options.seed}) because modelrepo.toml says "
            "allow_untrained = true: its answers mean nothing"
        )
        return ()


def _origin(folder: Path, files: tuple[Path, ...], seed: int) -> Weights:
    if not files:
        return Weights("random", f"seed {seed}", untrained=True)
    digest = sha256_of(files[0]) if len(files) == 1 else None
    if folder.parent.name == "snapshots":  # the hub's cache names each for its commit
        return Weights("pretrained", f"commit {folder.name[:12]}", untrained=False, sha256=digest)
    return Weights("file", files[0].name, untrained=False, sha256=digest)


def _refuse_unfit(found: Mapping[str, Any], reference: str, model: str) -> None:
    """Raise SourceError if weights lack more than the pooler, or have other shapes than in the configuration."""
    mismatched = sorted(found.get("mismatched_keys", ()))
    if mismatched:
        name, there, wanted = mismatched[0]
        raise SourceError(
            f"the weights of {reference} do not fit its {folders.CONFIG}: {name} has shape {tuple(there)} instead of "
            f"{tuple(wanted)}"
        )
    missing = sorted(name for name in found.get("missing_keys", ()) if "pooler." not in name)
    if missing:
        raise SourceError(
            f"the weights of {reference} lack {len(missing)} tensors of {model}, {missing[0]} among them",
            "They were not trained for this task: name another with --task, or use --weights random",
        )


def _unreadable(files: tuple[Path, ...], error: Exception) -> SourceError:
    if "weights_only" in str(error) or "Unsupported" in str(error):
        return folders.holds_code(next(file for file in files if file.suffix != ".safetensors"))
    return SourceError(f"can't read the weights {files[0]}: {pytorch.cause(error)}", "Save or download them again")


def labels_of(config: Any) -> tuple[str, ...]:
    """Return the names of a classifier's classes in order, each as one line."""
    named = config.id2label or {}
    return tuple(" ".join(str(named[number]).split()) for number in sorted(named))
