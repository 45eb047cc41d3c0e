"""The tasks of transformers models: a table of them, and the choice for a configuration."""

from dataclasses import dataclass
from typing import Any

from modelrepo.generator.errors import OptionError, SourceError, nearest
from modelrepo.generator.sources.hf.hub import HF
from modelrepo.generator.system.extras import need

FALLBACK = "feature-extraction"
ENCODED = "text-encoding"
# Tasks that use a model without the head that was trained on it.
BARE = (FALLBACK, ENCODED)


@dataclass(frozen=True)
class Task:
    """A task of transformers models."""

    # The auto classes of transformers that have models for it.
    classes: tuple[str, ...]
    # The outputs that are served, if a model has them.
    outputs: tuple[str, ...]
    # Whether its ``logits`` are scores of the configuration's labels.
    labelled: bool = False

    def builder(self, config: Any) -> Any:
        """Return the first auto class that has a model of this configuration, or None."""
        architectures = set(config.architectures or ())
        offering = [auto for name in self.classes if (auto := _offering(name, config))]
        fitting = [auto for auto in offering if architectures & _models(auto, config)]
        return (fitting or offering or [None])[0]


LOGITS = ("logits",)
# By the hub's names of its pipelines. The first row that has a configuration's architecture is its task.
TASKS: dict[str, Task] = {
    "text-classification": Task(("AutoModelForSequenceClassification",), LOGITS, labelled=True),
    "token-classification": Task(("AutoModelForTokenClassification",), LOGITS, labelled=True),
    "question-answering": Task(("AutoModelForQuestionAnswering",), ("start_logits", "end_logits")),
    "text2text-generation": Task(("AutoModelForSeq2SeqLM",), ("logits", "encoder_last_hidden_state")),
    "fill-mask": Task(("AutoModelForMaskedLM",), LOGITS),
    "multiple-choice": Task(("AutoModelForMultipleChoice",), LOGITS),
    "next-sentence-prediction": Task(("AutoModelForNextSentencePrediction",), LOGITS),
    "text-generation": Task(("AutoModelForCausalLM",), LOGITS),
    "image-classification": Task(("AutoModelForImageClassification",), LOGITS, labelled=True),
    "video-classification": Task(("AutoModelForVideoClassification",), LOGITS, labelled=True),
    "object-detection": Task(("AutoModelForObjectDetection",), ("logits", "pred_boxes")),
    "image-segmentation": Task(
        ("AutoModelForSemanticSegmentation", "AutoModelForUniversalSegmentation", "AutoModelForImageSegmentation"),
        ("logits", "pred_boxes", "pred_masks", "class_queries_logits", "masks_queries_logits"),
    ),
    "depth-estimation": Task(("AutoModelForDepthEstimation",), ("predicted_depth",)),
    "image-to-image": Task(("AutoModelForImageToImage",), ("reconstruction",)),
    "zero-shot-image-classification": Task(
        ("AutoModelForZeroShotImageClassification",),
        ("logits_per_image", "logits_per_text", "text_embeds", "image_embeds"),
    ),
    "automatic-speech-recognition": Task(
        ("AutoModelForCTC", "AutoModelForSpeechSeq2Seq"), ("logits", "encoder_last_hidden_state")
    ),
    "audio-classification": Task(("AutoModelForAudioClassification",), LOGITS, labelled=True),
    "audio-frame-classification": Task(("AutoModelForAudioFrameClassification",), LOGITS, labelled=True),
    "audio-xvector": Task(("AutoModelForAudioXVector",), ("logits", "embeddings")),
    FALLBACK: Task(
        ("AutoModel",),
        (
            *("last_hidden_state", "pooler_output", "encoder_last_hidden_state"),
            *("text_embeds", "image_embeds", "logits_per_image", "logits_per_text"),
        ),
    ),
    ENCODED: Task(("AutoModelForTextEncoding", "AutoModel"), ("last_hidden_state",)),
}
# The outputs that are compared by their direction, and those that are scores of classes, or of words and places.
EMBEDDINGS = (
    *("last_hidden_state", "pooler_output", "encoder_last_hidden_state", "text_embeds", "embeddings"),
    "sentence_embedding",
)
SCORES = ("logits", "start_logits", "end_logits")
# Problems whose scores are not of classes of which one is right.
NOT_CLASSES = ("regression", "multi_label_classification")
# Other names of the hub for the same tasks.
ALIASES = {
    "image-feature-extraction": FALLBACK,
    "sentence-similarity": FALLBACK,
    "summarization": "text2text-generation",
    "translation": "text2text-generation",
}


def choose(config: Any, asked: str, reference: str) -> tuple[str, Task]:
    """Return the name and the row of the task that is asked for, or of the configuration's architecture.

    Raises OptionError for an unknown task, and SourceError, with the possible tasks, if the model is not for it or its
    configuration names none.
    """
    if asked:
        name = ALIASES.get(asked, asked)
        if name not in TASKS:
            raise OptionError(f"unknown task {asked!r}", nearest(asked, (*TASKS, *ALIASES)))
        if TASKS[name].builder(config) is None:
            raise SourceError(f"{reference}, a {config.model_type} model, is not for {asked}", _possible(config))
        return name, TASKS[name]
    architectures = set(config.architectures or ())
    for name, task in TASKS.items():
        auto = task.builder(config)
        if auto and (architectures & _models(auto, config) or (not architectures and name == FALLBACK)):
            return name, task
    what = ", ".join(sorted(architectures)) or "no architecture"
    raise SourceError(f"{reference} does not name its task: its configuration names {what}", _possible(config))


def _possible(config: Any) -> str:
    names = [name for name, task in TASKS.items() if task.builder(config)]
    return f"Possible: --task {', '.join(names)}" if names else "It fits none of the known tasks"


def _offering(name: str, config: Any) -> Any:
    """Return an auto class if it has a model of a configuration, transformers' own or the folder's."""
    auto = getattr(need("transformers", HF), name)
    own = name in (getattr(config, "auto_map", None) or {})
    return auto if own or type(config) in auto._model_mapping else None


def _models(auto: Any, config: Any) -> set[str]:
    """Return the names of the models that an auto class has for a configuration."""
    own = (getattr(config, "auto_map", None) or {}).get(auto.__name__)
    if own:
        return {str(own).rpartition(".")[2]}
    found = auto._model_mapping.get(type(config), ())
    return {each.__name__ for each in (found if isinstance(found, (tuple, list)) else (found,))}
