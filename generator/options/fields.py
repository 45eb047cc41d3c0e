"""The one table of options: flags, the keys of ``modelrepo.toml`` and reference pages are made from it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator.backends import BACKENDS
from modelrepo.generator.errors import OptionError
from modelrepo.generator.optimize import precisions
from modelrepo.generator.options import parsers
from modelrepo.generator.options.domains import read_domains
from modelrepo.generator.options.parsers import one_of
from modelrepo.generator.specs.options import Calibration, Choice, Effort, VersionPolicy
from modelrepo.generator.specs.written import input_shapes, integer, text
from modelrepo.generator.triton import releases

# The groups of `generate --help`, in order.
MOST_USED = "Most used"
SOURCE = "Source"
BUILT = "What is built"
SERVING = "Serving"
VERIFICATION = "Verification"
RUN = "Where and how"


@dataclass(frozen=True)
class Field:
    """One option."""

    group: str  # in `generate --help`
    parse: Callable[[Any], Any]  # reads a written value; ValueError says what was expected
    default: Any
    metavar: str
    help: str
    flag: bool = True  # has a command-line flag
    path: bool = False  # relative to the file it is written in
    run: bool = False  # belongs to the whole run, not to one model


FIELDS: dict[str, Field] = {
    "model": Field(
        MOST_USED, text, None, "NAME",
        "Source model: a file or folder, such as net.onnx; a torchvision name; SCHEME:NAME, such as timm:convnext_atto "
        "or python:nets:Net; or a [models.NAME] of modelrepo.toml. `modelrepo models` lists them.",
    ),
    "backends": Field(
        MOST_USED, parsers.read_backends, (Choice("onnx", ""),), "LIST",
        f"Backends to build for, of {', '.join(BACKENDS)}: comma-separated, each with a precision of its own if you "
        "like, such as onnx,tensorrt:fp16.",
    ),
    "precision": Field(
        MOST_USED, parsers.read_precision, "fp32", "NAME",
        f"Precision of the backends that name none: {', '.join(precisions())}.",
    ),
    "weights": Field(
        MOST_USED, text, "pretrained", "pretrained|random|PATH",
        "Weights: downloaded, seeded random, or a .pth, .pt or .safetensors file.",
    ),
    "max_batch_size": Field(
        MOST_USED, integer(0), 16, "N",
        "Largest batch that Triton may form; 0 turns batching off.",
    ),
    "input_shape": Field(
        MOST_USED, input_shapes, (), "SHAPES",
        "Example of each input, NAME=1x3x224x224:float32,…, or the shape of one image, such as 3x224x224. Default: the "
        "model's own.",
    ),
    "samples": Field(
        MOST_USED, parsers.read_file_or_folder, None, "FILE|DIR",
        "Your samples for verification: .npz, .npy, CSV, Parquet, images, or a folder of them. With labels (a column or "
        "array labels, y, target, …, or a folder for each class) they measure accuracy.", path=True,
    ),
    "label_column": Field(
        MOST_USED, text, "", "NAME",
        "Column or array of --samples and --calibration with the labels. Default: label, labels, y, target or the like.",
    ),
    "repository": Field(
        MOST_USED, parsers.read_path, Path("model_repository"), "DIR",
        "Model repository to publish in.", path=True, run=True,
    ),
    "live_check": Field(
        MOST_USED, one_of("auto", "require", "off"), "auto", "auto|require|off",
        "Ask each model in a real Triton on this machine before it is published: if possible, always, or never. The "
        "first time, Triton (55 MB) is downloaded.", run=True,
    ),
    "seed": Field(
        SOURCE, integer(0, 2**32 - 4), 0, "N",
        "Seed of random weights and of the inputs for verification.",
    ),
    "dynamic": Field(
        SOURCE, parsers.read_dynamic, {}, "AXES",
        "Dimensions of any size, INPUT:AXIS=NAME,…, such as ids:0=batch,1=seq;mask:0=batch,1=seq. Default: the batch, "
        "and the dimensions that the model itself leaves open.",
    ),
    "make_batch_dynamic": Field(
        SOURCE, parsers.read_boolean, False, "",
        "Rewrite an ONNX file that has a fixed batch size, if that provably changes nothing.",
    ),
    "task": Field(
        SOURCE, text, "", "NAME",
        "Task of a transformers model, such as text-classification. Default: the one of its configuration.",
    ),
    "signature": Field(
        SOURCE, text, "", "NAME",
        "Signature of a SavedModel. Default: serving_default, or its only one.",
    ),
    "trust_source": Field(
        SOURCE, parsers.read_boolean, False, "",
        "Load files that run code: pickles, and Hugging Face models with their own code. The code can do anything: "
        "only for files that you trust.",
    ),
    "allow_untrained": Field(
        SOURCE, parsers.read_boolean, False, "",
        "Fall back to seeded random weights if pretrained ones can't be downloaded.", flag=False,
    ),
    "target_release": Field(
        BUILT, parsers.read_release, releases.NEWEST, "YY.MM",
        f"Triton release that will serve the models; limits opset and IR. Default: {releases.NEWEST}.",
    ),
    "with_preprocessing": Field(
        BUILT, parsers.read_boolean, False, "",
        "Take what clients have: pictures as UINT8 pixels of any size, prepared in the graph as the source's own "
        "transform prepares them; texts, made into tokens by a step before the model.",
    ),
    "with_postprocessing": Field(
        BUILT, parsers.read_boolean, False, "",
        "Answer with what clients want: a classifier's best labels, a detector's boxes, an embedding of length 1.",
    ),
    "with_decoding": Field(
        BUILT, parsers.read_boolean, False, "",
        "Publish NAME_encoded as well, which takes the bytes of JPEG, PNG and WebP files; with --with-preprocessing.",
    ),
    "head": Field(
        BUILT, one_of("yolo"), "", "yolo",
        "With --with-postprocessing, how raw answers are to be read: yolo, as ultralytics exports YOLOv5, YOLOv8 and "
        "later ones.",
    ),
    "top_k": Field(
        BUILT, integer(1), None, "N",
        "Classes that a classifier --with-postprocessing answers with, the best first. Default: 5, or all of fewer.",
    ),
    "score_threshold": Field(
        BUILT, parsers.read_fraction, None, "SHARE",
        "Score above which a detection of --with-postprocessing counts. Default: 0.5 for transformers, 0.25 for yolo, "
        "torchvision's own.",
    ),
    "iou_threshold": Field(
        BUILT, parsers.read_fraction, None, "SHARE",
        "With --head yolo: of two boxes of a class that overlap more (intersection over union), the better is kept. "
        "Default: 0.7, for YOLOv5 0.45.",
    ),
    "max_detections": Field(
        BUILT, integer(1), None, "N",
        "Detections that a transformer or a YOLO --with-postprocessing answers with, the best first. Default: 100.",
    ),
    "pooling": Field(
        BUILT, one_of("mean", "cls"), "", "mean|cls",
        "With --with-postprocessing, how the embeddings of tokens become one of the text: the mean of those in the mask, "
        "or the first one. Default: as its folder says for sentence-transformers.",
    ),
    "opset": Field(
        BUILT, integer(9), 20, "N",
        "ONNX operator set; the target release must read it.",
    ),
    "exporter": Field(
        BUILT, one_of("auto", "torch.export", "torchscript"), "auto", "NAME",
        "How PyTorch models become ONNX: torch.export, torchscript (older; three times as fast), or auto: "
        "torch.export, and torchscript if that fails.",
    ),
    "assume_branch": Field(
        BUILT, parsers.read_assumptions, (), "LIST",
        "Lines of the model's Python that read a tensor's value, and answer the same for every input that will be "
        "served: FILE:LINE=true or false for a branch, FILE:LINE for a number, such as nets.py:12=false.",
    ),
    "simplify": Field(
        BUILT, parsers.read_boolean, False, "",
        "Clean up the graph: fold constants, remove unused nodes, fuse the patterns of transformers.",
    ),
    "prune": Field(
        BUILT, parsers.read_pruning, None, "SHARE|2:4",
        "Set the smallest weights of each layer to zero: a share such as 50%, or 2 of every 4, as sparse Tensor Cores "
        "need it.",
    ),
    "calibration": Field(
        BUILT, parsers.read_calibration, Calibration(), "DIR|FILE|'N random'",
        "Data that INT8 and FP8 are calibrated with: a folder of images or samples, a .npz, or random inputs (not "
        "recommended). Default: 64 random.", path=True,
    ),
    "calibration_method": Field(
        BUILT, one_of("minmax", "entropy", "percentile"), "minmax", "NAME",
        "How calibration finds ranges: minmax, entropy or percentile.",
    ),
    "max_accuracy_drop": Field(
        BUILT, parsers.read_fraction, None, "SHARE",
        "Accuracy that a lower precision or pruning may cost, such as 1%: of labelled samples, otherwise of top-1 "
        "agreement with the source. Default: FP16 and BF16 1%, INT8, FP8 and pruning 3%.",
    ),
    "keep_precise": Field(
        BUILT, parsers.read_names, (), "auto|LIST",
        "Layers that keep FP32: names, or auto: the layers that lose the most, until the accuracy is within its limit.",
    ),
    "profiles": Field(
        BUILT, parsers.read_profiles, (), "LIST",
        "TensorRT's optimization profiles, DIMENSION=MIN:OPT:MAX,…; separate several with ';'. Default: "
        "batch=1:PREFERRED:MAX.",
    ),
    "plan_builder": Field(
        BUILT, one_of("auto", "process", "container", "defer"), "auto", "WAY",
        "Where TensorRT plans are built: in a process of this Python, in the serving container, later (defer), or "
        "auto: wherever it is possible here.",
    ),
    "version_compatible": Field(
        BUILT, parsers.read_boolean, False, "",
        "Build plans that newer TensorRT releases load too; Triton then needs "
        "--backend-config=tensorrt,version-compatible=true.",
    ),
    "name_template": Field(
        SERVING, parsers.read_name_template, "", "TEXT",
        "Published name, made of {model}, {backend}, {precision} and {_precision}, which is nothing for fp32. Default: "
        "{model}{_precision} for one backend, {model}_{backend}{_precision} for several, with _pruned if pruned.",
    ),
    "preferred_batch_sizes": Field(
        SERVING, parsers.read_sizes, (), "LIST",
        "Batch sizes that the dynamic batcher prefers, such as 4,8.",
    ),
    "queue_delay_us": Field(
        SERVING, integer(0), 0, "N",
        "Microseconds that the dynamic batcher may wait to fill a batch.",
    ),
    "instances": Field(
        SERVING, parsers.read_instances, None, "KIND:COUNT",
        "Instance group, such as gpu:2 (auto, cpu, gpu, model). Default: auto:1, TensorRT gpu:1.",
    ),
    "version_policy": Field(
        SERVING, parsers.read_version_policy, VersionPolicy("specific"), "POLICY",
        "specific (the published version), specific:1,2, latest:N or all.",
    ),
    "cuda_graphs": Field(
        SERVING, parsers.read_boolean, False, "",
        "Let Triton capture CUDA graphs of a TensorRT plan.",
    ),
    "labels": Field(
        SERVING, parsers.read_class_names, None, "FILE",
        "Names of a classifier's classes: one a line, a table, JSON such as id2label, or a .npy. Default: those that the "
        "source has. Triton returns them beside the scores.", path=True,
    ),
    "config_patch": Field(
        SERVING, parsers.read_file, None, "FILE",
        "ModelConfig protobuf text, merged over the generated config.pbtxt.", path=True,
    ),
    "templates": Field(
        SERVING, parsers.read_folder, None, "DIR",
        "Folder of templates that replace ours of the same name.", path=True,
    ),
    "verify": Field(
        VERIFICATION, parsers.read_boolean, True, "",
        "Compare the converted model with its source before it is published (the default).",
    ),
    "verify_effort": Field(
        VERIFICATION, parsers.read_effort, Effort(), "EFFORT",
        "How long to search for inputs that the converted model answers wrongly: quick, normal, thorough, or a time "
        "such as 60s or 5m.",
    ),
    "domain": Field(
        VERIFICATION, read_domains, (), "INPUT=VALUES",
        "Values that an input takes, if the model refuses others: INPUT=LOW:HIGH, INPUT=CHOICE,CHOICE,… or INPUT=like "
        "FILE, the values of an .npz or .npy file; separate several inputs with ';', such as lengths=1:6;axis=0,1.",
    ),
    "tolerance": Field(
        VERIFICATION, parsers.read_tolerance, None, "NUMBER",
        "Allowed difference, relative to each answer's largest magnitude, or relative=…,absolute=….",
    ),
    "all_or_nothing": Field(
        RUN, parsers.read_boolean, False, "",
        "Publish a model for all of its backends, or for none. Default: what is proven is published, and what fails is "
        "reported.", run=True,
    ),
    "source_timeout": Field(
        RUN, parsers.read_seconds, 1800.0, "TIME",
        "How long a source may take to be loaded, to be exported, or for one answer: seconds, or a time such as 90s, "
        "10m or 2h. Default: 30m.", run=True,
    ),
    "client_dir": Field(
        RUN, parsers.read_client_dir, Path("clients/generated"), "DIR",
        "Folder for a typed Python client of each model; none writes no clients.", path=True, run=True,
    ),
}  # fmt: skip


def parse_field(name: str, value: Any, where: str) -> Any:
    """Read one written value; OptionError says where it is written and what was expected."""
    try:
        return FIELDS[name].parse(value)
    except ValueError as error:
        raise OptionError(f"{where} = {value!r}: {error}") from error
