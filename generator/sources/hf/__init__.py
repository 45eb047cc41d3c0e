"""Hugging Face's models: `--model hf:ORG/NAME` from the hub or its cache, `--model hf:./folder` from a folder.

``folder`` reads a folder, ``hub`` finds or downloads one, ``tasks`` chooses the task of a model, ``inputs`` describes
its inputs, ``images`` how clients prepare an image, and ``loading`` builds it with transformers.
"""

from pathlib import Path

from modelrepo.generator.errors import OptionError
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import pytorch
from modelrepo.generator.sources.domains import with_domains
from modelrepo.generator.sources.dynamic import with_dynamic
from modelrepo.generator.sources.hf import folder as folders
from modelrepo.generator.sources.hf import hub, images, inputs, loading
from modelrepo.generator.sources.pytorch.assumptions import assuming
from modelrepo.generator.sources.source import Source, path_of
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel

# The folder beside model.onnx for the files of tokenizers and of image or sound processors, named as in transformers.
COMPANIONS = "processor"


def default_name(name: str) -> str:
    """Return the last part of the name."""
    return path_of(name).absolute().name if hub.is_path(name) else name.rpartition("/")[2]


def files(name: str) -> tuple[Path, ...]:
    """Return the configuration, weights, code and tokenizer of a folder or of a cached model; none before a download.

    Raises SourceError for a path that is not a folder, or a folder without a readable configuration.
    """
    folder = hub.local(name)
    if folder is None or (not hub.is_path(name) and not (folder / folders.CONFIG).exists()):
        return ()
    folders.configuration(folder)
    return tuple(
        dict.fromkeys((*folders.companions(folder), *folders.weights(folder).files, *folders.own_code(folder)))
    )


def check(name: str, options: Options) -> None:
    """Raise SourceError unless a folder has a configuration, and readable weights if they are wanted."""
    _refuse_path(options)
    folder = hub.local(name)
    if folder and (hub.is_path(name) or (folder / folders.CONFIG).exists()):
        loading.refuse(folders.configuration(folder), f"hf:{name}", options.trust_source)
        if options.weights != "random" and not options.allow_untrained and hub.is_path(name):
            folders.weights(folder).checked(options.trust_source)


def load(name: str, options: Options, progress: Progress) -> SourceModel:
    """Return the model for the task of the options or of its configuration, in evaluation mode and float32.

    Texts are (batch, sequence) of int64 with a mask of the same shape, images (batch, channels, height, width), waves
    (batch, samples). Raises SourceError for a model that can't be downloaded, read or used, and OptionError for an
    option that does not fit it.
    """
    _refuse_path(options)
    reference = f"hf:{default_name(name) if hub.is_path(name) else name}"
    folder = hub.fetched(
        name,
        weights=options.weights != "random",
        code=options.trust_source,
        spared=options.allow_untrained,
    )
    loading.refuse(folders.configuration(folder), reference, options.trust_source)
    loaded = loading.load(folder, reference, options, progress)
    described = images.processor(folder)
    specs = inputs.inputs_of(loaded.model, loaded.task, images.size_of(described))
    specs = with_dynamic(with_domains(inputs.given(specs, options.input_shape), options.domain), options.dynamic)
    takes_images = any(spec.name == "pixel_values" for spec in specs)
    preprocess, note = images.preprocess(described) if described and takes_images else (None, "")
    source = pytorch.source_model(
        reference,
        loading.answering(loaded, tuple(spec.name for spec in specs)),
        specs,
        loaded.weights,
        labels=loaded.labels,
        preprocess=preprocess,
        companions={f"{COMPANIONS}/{file.name}": file for file in folders.companions(folder)},
        notes=(*loaded.notes, *filter(None, [note])),
    )
    return assuming(source, options.assume_branch)


def _refuse_path(options: Options) -> None:
    if options.weights not in ("pretrained", "random"):
        raise OptionError(
            f"--weights {options.weights} has no effect on {options.model}",
            "Its weights lie beside its config.json: save your own in a folder with save_pretrained",
        )


SOURCE = Source(
    form="hf:ORG/NAME, or hf:./FOLDER",
    summary="Hugging Face transformers",
    frameworks=("torch",),
    load=load,
    check=check,
    files=files,
    known=hub.known,
    names_file=hub.is_path,
    default_name=default_name,
    options=("weights", "input_shape", "dynamic", "task", "opset", "exporter", "assume_branch", "trust_source"),
    packages=("transformers", "safetensors", "huggingface-hub"),
    extras=(hub.HF,),
)
