"""From what a user wrote, on the command line or in ``modelrepo.toml``, to frozen ``Options``.

``FIELDS`` is the one table: the command line's flags, the file's keys and the reference page are made from it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator.backends import BACKENDS
from modelrepo.generator.errors import OptionError
from modelrepo.generator.optimize import PRECISIONS
from modelrepo.generator.options.parsers import (
    _backends,
    _boolean,
    _calibration,
    _choice,
    _client_dir,
    _dynamic,
    _file,
    _file_or_folder,
    _folder,
    _fraction,
    _instances,
    _name_template,
    _names,
    _path,
    _precision,
    _profiles,
    _pruning,
    _release,
    _sizes,
    _tolerance,
    _version_policy,
)
from modelrepo.generator.specs.options import Calibration, Choice, VersionPolicy
from modelrepo.generator.specs.written import input_shapes
from modelrepo.generator.specs.written import integer as _integer
from modelrepo.generator.specs.written import text as _text
from modelrepo.generator.triton import releases


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


def parse_field(name: str, value: Any, where: str) -> Any:
    """Read one written value; OptionError says where it stands and what was expected."""
    try:
        return FIELDS[name].parse(value)
    except ValueError as error:
        raise OptionError(f"{where} = {value!r}: {error}") from error
