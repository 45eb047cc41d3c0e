"""Steps that make tokens of texts: `use = "tokenizer:FOLDER"`, with the tokenizer that transformers has built.

ONNX Runtime Extensions' operators are not used: none of them gives all ids of a tokenizer (docs/explanation/texts.md).
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.generator import sources
from modelrepo.generator.ensembles import text_step
from modelrepo.generator.ensembles.member import Made, Member, Site
from modelrepo.generator.errors import ConversionError, InputRefused, ModelRepoError, OptionError
from modelrepo.generator.pipeline.job import Job
from modelrepo.generator.sources import hf
from modelrepo.generator.sources.hf import hub, tokenizing
from modelrepo.generator.specs.ensembles import OWN, EnsembleSpec, Step
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.preparation import Preparation, Tokenizing
from modelrepo.generator.specs.tensors import Array, Arrays, Domain, TensorSpec
from modelrepo.generator.system.templates import environment
from modelrepo.generator.verification.corpus import TEXTS

TEMPLATE, MODEL, CODE, REQUIREMENTS = "text_step.py.j2", "model.py", "text_step.py", "requirements.txt"
IDS, MASK = "input_ids", "attention_mask"
# The scheme of its steps, and the name of the step of a model that is to take texts.
SCHEME, ITS_MODEL = "tokenizer", "model"
# The output of a sentence embedding, whose texts sentence-transformers prepares.
EMBEDDING = "sentence_embedding"
# The texts of a batch in which the tokenizer is compared.
TOGETHER = 7
# The characters of a text that is only cut.
LONG = 300
# numpy's types, by Triton's.
TYPES = {f"TYPE_{name.upper()}": name for name in ("int8", "int16", "int32", "int64", "uint32", "uint64")}


def planned(jobs: Sequence[Job]) -> tuple[list[Job], list[EnsembleSpec]]:
    """Return jobs, and the ensembles of those whose models are to take texts: each becomes the job of one of its steps.

    The model of an ensemble NAME is published as NAME__model, and its tokens are made by NAME__tokenize.
    """
    made, specs = [], []
    for job in jobs:
        folder = _folder(job.options) if job.options.with_preprocessing else None
        if folder is None:
            made.append(job)
            continue
        own = Job(f"{job.name}{OWN}{ITS_MODEL}", job.options)
        made.append(own)
        for choice, name in job.published_names().items():
            tokenize = Step("tokenize", f"{SCHEME}:{folder}")
            steps = (tokenize, Step(ITS_MODEL, own.published_names()[choice]))
            specs.append(EnsembleSpec(name, steps, option="--with-preprocessing"))
    return made, specs


def _folder(options: Options) -> Path | None:
    """Return the folder of a job's model if that takes texts; what is missing of its tokenizer is downloaded.

    None as well for a model that can't be found: its job says why.
    """
    try:
        source, name = sources.find(options.model)
        if source is not hf.SOURCE:
            return None
        folder = hub.fetched(name, weights=False, code=options.trust_source, spared=True)
        return folder if tokenizing.takes_texts(folder) else None
    except ModelRepoError:
        return None


def member(step: Step, site: Site) -> Member:
    """Return the model that makes tokens of texts for the model of another step.

    OptionError if no other step takes tokens, or if the folder's texts can't be prepared; ConversionError if the
    library tokenizers gives other ids than transformers.
    """
    model = _model(step, site)
    folder = Path(step.rest)
    whole = any(tensor.name == EMBEDDING for tensor in model.config.output)
    prepared = tokenizing.of_folder(folder, f"hf:{folder.name}", _inputs(model.config), whole=whole)
    return made(site.ensemble.own_model(step), prepared, model.config, site.folder)


def made(name: str, prepared: Preparation, config: Any, folder: Path) -> Member:
    """Return a tokenize step, named ``name``, for a model with a configuration; its files are written to ``folder``.

    ConversionError if the step gives other ids than the library.
    """
    (settings,) = prepared.steps
    lay_out(name, settings, folder)
    prove(prepared, text_step.Tokens(folder))
    files = (MODEL, CODE, text_step.TOKENIZER, text_step.SETTINGS, REQUIREMENTS)
    texts = usual(prepared, config)
    return Member(
        name=name,
        version=0,
        config=_config(name, config),
        reference=partial(_answer, prepared),
        inputs=(TensorSpec(prepared.input, "object", ("batch", 1), Domain(choices=texts)),),
        likely=partial(_drawn, prepared.input, texts),
        made=Made("python", {file: folder / file for file in files}, tools={"tokenizers": version("tokenizers")}),
        input_kinds={prepared.input: "text"},
    )


def is_one(folder: Path) -> bool:
    """Whether a version folder is of a tokenize step."""
    return (folder / CODE).is_file() and (folder / text_step.SETTINGS).is_file()


def published(folder: Path) -> Callable[[Arrays], Mapping[str, Array]]:
    """Return the published tokenize step of a version folder as a function; InputRefused for what it refuses."""
    tokens = text_step.Tokens(folder)

    def answer(arrays: Arrays) -> Mapping[str, Array]:
        (found,) = tokens.answer_all([arrays[tokenizing.TEXT]])
        if isinstance(found, text_step.TextError):
            raise InputRefused(str(found))
        return found

    return answer


def lay_out(name: str, settings: Tokenizing, folder: Path) -> None:
    """Write the version folder of a tokenize step: its code, the tokenizer, its settings, and the package it needs."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(text_step.__file__, folder / CODE)
    comment = "made by modelrepo from a tokenizer; changes are lost when it is made again."
    rendered = environment().get_template(TEMPLATE).render(name=name, input=tokenizing.TEXT, comment=comment)
    (folder / MODEL).write_text(rendered, "utf-8")
    (folder / text_step.TOKENIZER).write_text(settings.tokenizer, "utf-8")
    (folder / text_step.SETTINGS).write_text(json.dumps(settings.settings, indent=2, sort_keys=True) + "\n", "utf-8")
    (folder / REQUIREMENTS).write_text(f"tokenizers=={version('tokenizers')}\n", "utf-8")


def prove(prepared: Preparation, tokens: text_step.Tokens) -> None:
    """Compare a step's answers with the library's on the corpus, one by one and in batches; ConversionError names one.

    Texts that the step refuses are left out: those without tokens, or with more than the model takes.
    """
    texts = [text for text in TEXTS if _is_taken(prepared, prepared.own([text]))]
    batches = [[text] for text in texts]
    if prepared.steps[0].padding_id is not None:
        batches += [texts[start : start + TOGETHER] for start in range(0, len(texts), TOGETHER)]
    for batch in batches:
        (answer,) = tokens.answer_all([np.array(batch, np.object_)])
        if isinstance(answer, text_step.TextError) or not _are_equal(answer, prepared.own(batch)):
            raise ConversionError(
                f"the library tokenizers makes other tokens of {batch[0][:40]!r} than the model's own library",
                "Let clients send tokens, and report it with the folder's tokenizer files",
            )


def _are_equal(answer: Mapping[str, Array], wanted: Mapping[str, Array]) -> bool:
    return answer.keys() == wanted.keys() and all(np.array_equal(answer[name], wanted[name]) for name in wanted)


def _answer(prepared: Preparation, arrays: Arrays) -> Mapping[str, Array]:
    """Return the library's own answer to an array of texts, (texts, 1); InputRefused for what the step refuses."""
    try:
        texts = [each if isinstance(each, str) else each.decode() for each in arrays[prepared.input].ravel()]
        answer: Mapping[str, Array] = prepared.own(texts)
    except ValueError as error:  # bytes that are not UTF-8, or lengths that can't be padded
        raise InputRefused(f"can't make tokens: {error}") from error
    if texts and not _is_taken(prepared, answer):
        raise InputRefused(f"the texts have {answer[IDS].shape[1]} tokens, which the model does not take")
    return answer


def _is_taken(prepared: Preparation, answer: Mapping[str, Array]) -> bool:
    """Whether texts have tokens, and no more than the model has positions for."""
    most = prepared.steps[0].most
    return bool(answer[IDS].size) and (most is None or answer[IDS].shape[1] <= most)


def usual(prepared: Preparation, config: Any) -> tuple[str, ...]:
    """Return texts of the corpus that a model with a configuration is asked with, alone and in batches.

    All have one number of tokens if a text's answer depends on its neighbours: they can't be padded, the model takes no
    mask, or its answers are as long as the longest text.
    """
    lengths: dict[int, list[str]] = {}
    for text in TEXTS:
        answer = prepared.own([text])
        if _is_taken(prepared, answer):
            lengths.setdefault(answer[IDS].shape[1], []).append(text)
    (settings,) = prepared.steps
    batched = 1 if config.max_batch_size == 0 else 0
    grows = any(size < 0 for tensor in config.output for size in tensor.dims[batched:])
    if settings.padding_id is not None and MASK in settings.given and not grows:
        return tuple(text for texts in lengths.values() for text in texts if len(text) < LONG)
    return tuple(lengths[max(lengths, key=lambda length: len(lengths[length]))])


def _drawn(name: str, texts: Sequence[str], count: int, seed: int) -> Sequence[Arrays]:
    """Draw likely texts, in one array (texts, 1)."""
    chosen = np.random.default_rng(seed).permutation(np.array(texts, np.object_))[:count]
    return [{name: chosen[:, np.newaxis]}]


def _model(step: Step, site: Site) -> Member:
    """Return the model that takes tokens; OptionError if it is none of the other steps, or several."""
    taking = [each for each in site.members.values() if any(tensor.name == IDS for tensor in each.config.input)]
    if len(taking) != 1:
        what = "no other step takes" if not taking else f"{len(taking)} steps take"
        raise OptionError(
            f"step {step.name!r} makes {IDS}, and {what} it", "Name one model that takes tokens as a step"
        )
    return taking[0]


def _inputs(config: Any) -> tuple[TensorSpec, ...]:
    """Return the inputs of a configuration, with a batch as the first dimension."""
    from tritonclient.grpc import model_config_pb2

    specs = []
    for tensor in config.input:
        dims = tuple(size if size > 0 else f"{tensor.name}_{axis}" for axis, size in enumerate(tensor.dims))
        shape = ("batch", *dims) if config.max_batch_size else ("batch", *dims[1:])
        specs.append(TensorSpec(tensor.name, TYPES.get(model_config_pb2.DataType.Name(tensor.data_type), ""), shape))
    return tuple(specs)


def _config(name: str, model: Any) -> Any:
    """Return the configuration of a tokenize step for a model: the same batches, and its inputs as outputs."""
    from tritonclient.grpc import model_config_pb2

    config = model_config_pb2.ModelConfig(name=name, backend="python", max_batch_size=model.max_batch_size)
    batch = [] if model.max_batch_size else [-1]
    config.input.add(name=tokenizing.TEXT, data_type=model_config_pb2.TYPE_STRING, dims=[*batch, 1])
    for tensor in model.input:
        config.output.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    config.instance_group.add(count=1, kind=model_config_pb2.ModelInstanceGroup.KIND_CPU)
    if model.max_batch_size > 1:
        config.dynamic_batching.SetInParent()
    config.parameters["input_kinds"].string_value = f"{tokenizing.TEXT}=text"
    return config
