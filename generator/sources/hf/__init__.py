"""Hugging Face's models: `--model hf:ORG/NAME` from the hub or its cache, `--model hf:./folder` from a folder.

``folder`` reads a folder, ``hub`` finds or downloads one, ``tasks`` chooses the task of a model, ``inputs`` describes
its inputs, ``images`` how clients prepare an image, and ``loading`` builds it with transformers. ``sentences`` reads
the modules of sentence-transformers beside it, and ``sentence_layers`` builds them; ``beside`` says what else is done
around a model, and ``texts`` draws likely inputs.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import OptionError, SourceError
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import pytorch
from modelrepo.generator.sources.domains import with_domains
from modelrepo.generator.sources.dynamic import with_dynamic
from modelrepo.generator.sources.hf import (
    beside,
    hub,
    images,
    inputs,
    loading,
    meanings,
    picturing,
    sentences,
    tasks,
    texts,
    tokenizing,
)
from modelrepo.generator.sources.hf import folder as folders
from modelrepo.generator.sources.pytorch.assumptions import assuming
from modelrepo.generator.sources.source import Source, path_of
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.preparation import Meaning
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
    if folder is None or (not hub.is_path(name) and not hub.is_configured(folder)):
        return ()
    home = sentences.home(folder)
    folders.configuration(home)
    own = (*folders.companions(home), *folders.weights(home).files, *folders.own_code(home))
    return tuple(dict.fromkeys((*folders.companions(folder), *own, *sentences.files(folder))))


def check(name: str, options: Options) -> None:
    """Raise SourceError unless a folder has a configuration, and readable weights if they are wanted."""
    _refuse_path(options)
    folder = hub.local(name)
    if folder and (hub.is_path(name) or hub.is_configured(folder)):
        home = sentences.home(folder)
        loading.refuse(folders.configuration(home), f"hf:{name}", options.trust_source)
        sentences.read(folder, options.task)
        if options.weights != "random" and not options.allow_untrained and hub.is_path(name):
            folders.weights(home).checked(options.trust_source)


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
    home = sentences.home(folder)
    loading.refuse(folders.configuration(home), reference, options.trust_source)
    found = sentences.read(folder, options.task)
    if found:
        source = _embedding(found, folder, reference, options, progress)
    else:
        source = _of_a_task(home, folder, reference, options, progress)
    tokens = {texts.IDS} <= {spec.name for spec in source.inputs} and source.preparation is None
    if options.with_preprocessing and (tokens or tokenizing.takes_texts(folder)):
        prepared = tokenizing.of_folder(folder, reference, source.inputs, whole=found is not None)
        source = replace(source, preparation=prepared)
    return assuming(source, options.assume_branch)


def _with_uses(source: SourceModel, model: Any, tokenizer: Any, longest: int | None) -> SourceModel:
    """Return a source with what its lower precisions are judged on: likely texts, and the meaning of its outputs."""
    classes = getattr(model.config, "problem_type", None) not in tasks.NOT_CLASSES
    return replace(
        source,
        likely=texts.drawing(tokenizer, source.inputs, longest),
        embeddings=tuple(name for name in source.output_names if name in tasks.EMBEDDINGS),
        scores=tuple(name for name in source.output_names if name in tasks.SCORES and classes),
    )


def _of_a_task(home: Path, folder: Path, reference: str, options: Options, progress: Progress) -> SourceModel:
    """Return the transformer in ``home`` with the outputs of its task."""
    loaded = loading.load(home, reference, options, progress)
    described = images.processor(home)
    specs = inputs.inputs_of(loaded.model, loaded.task, images.size_of(described))
    specs = with_dynamic(with_domains(inputs.given(specs, options.input_shape), options.domain), options.dynamic)
    takes_images = any(spec.name == "pixel_values" for spec in specs)
    around = beside.notes(home, folder, folders.configuration(home), tuple(spec.name for spec in specs))
    preprocess, note = images.preprocess(described) if described and takes_images else (None, "")
    source = pytorch.source_model(
        reference,
        loading.answering(loaded, tuple(spec.name for spec in specs)),
        specs,
        loaded.weights,
        labels=loaded.labels,
        preprocess=preprocess,
        companions=_companions(home, folder),
        notes=(*loaded.notes, *filter(None, [note, sentences.left_out(folder, options.task)]), *around),
    )
    named = loading.labels_of(loaded.model.config)
    meaning = meanings.meaning(loaded.model.config, loaded.task, source.output_names, named)
    source = replace(source, meaning=meaning)
    pixels = next((spec for spec in specs if spec.name == picturing.PIXEL_VALUES), None)
    if options.with_preprocessing and pixels and described:
        source = replace(source, preparation=picturing.preparation(home, pixels.shape))
    return _with_uses(source, loaded.model, texts.tokenizer(home), inputs.longest(loaded.model))


def _embedding(
    found: sentences.Sentences, folder: Path, reference: str, options: Options, progress: Progress
) -> SourceModel:
    """Return the sentence embedding of a folder of sentence-transformers: its transformer, and the modules after it."""
    from modelrepo.generator.sources.hf import sentence_layers

    task = tasks.ENCODED if found.encoder else tasks.FALLBACK
    loaded = loading.load(found.home, reference, replace(options, task=task), progress)
    own = inputs.inputs_of(loaded.model, loaded.task, None)
    if not any(spec.name == "input_ids" for spec in own):
        raise SourceError(f"{reference} is a sentence-transformers model without texts", sentences.ALONE)
    tokenizer = texts.tokenizer(found.home)
    specs = found.inputs(own, texts.given(tokenizer))
    specs = with_dynamic(inputs.given(specs, options.input_shape), options.dynamic)
    taken = [spec.name for spec in specs if spec.name in {each.name for each in own}]
    untrained = options.seed if loaded.weights.untrained else None
    source = pytorch.source_model(
        reference,
        sentence_layers.whole(loaded.model, found, [spec.name for spec in specs], taken, untrained),
        specs,
        loaded.weights,
        companions=_companions(found.home, folder),
        notes=(
            *(note for note in loaded.notes if loading.POOLER not in note),
            *found.notes(texts.keeps_case(tokenizer)),
        ),
    )
    source = replace(source, meaning=Meaning("embedding", source.output_names))
    limits = filter(None, (found.longest, inputs.longest(loaded.model)))
    return _with_uses(source, loaded.model, tokenizer, min(limits, default=None))


def _companions(home: Path, folder: Path) -> dict[str, Path]:
    return {f"{COMPANIONS}/{file.name}": file for file in (*folders.companions(folder), *folders.companions(home))}


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
