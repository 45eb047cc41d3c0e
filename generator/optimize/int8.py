"""INT8: a quarter of the size, and integer speed; calibration finds the ranges of the layers' inputs."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ConversionError, first_line
from modelrepo.generator.graphs import edit
from modelrepo.generator.graphs.onnx_file import PROTOBUF_LIMIT
from modelrepo.generator.optimize import made, probes, qdq
from modelrepo.generator.optimize.recipe import Lowered, Recipe, Request
from modelrepo.generator.optimize.silence import silent
from modelrepo.generator.specs.tensors import Arrays
from modelrepo.generator.verification import comparison

# Bins of a histogram. With ONNX Runtime's 128, entropy has a single threshold to choose from, the largest value. The
# time grows with the square of the bins.
ENTROPY_BINS = 256


@dataclass(frozen=True)
class Form:
    """The form of quantized graph that runs best on one backend."""

    operators: tuple[str, ...]  # have Q/DQ pairs at their inputs, and at their outputs
    open_ended: tuple[str, ...]  # those of ``operators`` without Q/DQ pairs at their outputs
    symmetric: bool  # activations are int8 around 0; otherwise uint8 with a zero point


# TensorRT takes only int8 around 0, and fuses the operators that follow a layer into it.
TENSORRT = Form(qdq.LAYERS, qdq.LAYERS, symmetric=True)
# ONNX Runtime on a CPU with VNNI, at batch 8: with uint8 activations ResNet50 was 2.8 times as fast as in FP32 and 2.4
# times as fast as with int8 ones. A convolution runs in integers only if its output is quantized, too, and a Relu or
# Clip after it is then free. Other operators between layers stay precise: with additions and reshapes quantized,
# ViT-B/16's answers changed by 40% of their magnitude instead of 4%, and ResNet50 was not faster.
CPU = Form(
    (*qdq.LAYERS, "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool"), ("MatMul", "Gemm"), symmetric=False
)


def lower(request: Request) -> Lowered:
    """Quantize the layers with ONNX Runtime: weights to int8 with a scale per channel, activations by calibration.

    Layers named in ``request.kept`` stay in FP32; so do biases, inputs and outputs of the model. Raises ConversionError
    if there is no calibration data, the model fails on it, or no layer was quantized.
    """
    from onnx import TensorProto

    if not request.data:
        raise ConversionError("INT8 needs data to calibrate with", "Give it with --calibration")
    request.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=request.folder) as scratch:
        path = qdq.prepared(request, Path(scratch), "INT8")
        before = edit.load(path)
        after = _quantized(path, _ranges(path, request, Path(scratch)), request)
    layers = qdq.quantized_layers(after, (TensorProto.INT8, TensorProto.UINT8))
    done = qdq.summary(before, after, "INT8", layers, request.kept)
    qdq.check_stored(after, layers)
    export = made.described(edit.save(after, request.folder), request.export)
    if not made.opens(export.path):
        raise ConversionError("ONNX Runtime does not open the INT8 model that it made")
    return Lowered(export, done, layers)


def costs(request: Request, lowered: Lowered) -> Mapping[str, float]:
    """Return the share of its answer by which each layer changes if its input and weights are INT8."""
    with tempfile.TemporaryDirectory(dir=request.folder) as scratch:
        path = qdq.prepared(request, Path(scratch), "INT8")
        return qdq.costs(request, path, lowered.export.path, lowered.layers)


def _form(request: Request) -> Form:
    return TENSORRT if request.for_tensorrt else CPU


def _ranges(path: Path, request: Request, folder: Path) -> Any:
    """Return ONNX Runtime's ``TensorsData``: the range of each tensor that is to be quantized.

    Inputs are run one by one, so that memory holds the activations of only one.
    """
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    methods = {
        "minmax": (CalibrationMethod.MinMax, {}),
        "entropy": (CalibrationMethod.Entropy, {"num_bins": ENTROPY_BINS}),
        "percentile": (CalibrationMethod.Percentile, {}),
    }
    method, settings = methods[request.method]
    form = _form(request)
    inputs = probes.probe_inputs(request, sum(len(pool.families) for pool in request.data))
    try:
        with silent():
            calibrator = create_calibrator(
                path,
                form.operators,
                str(folder / "augmented.onnx"),
                method,
                use_external_data_format=path.stat().st_size > PROTOBUF_LIMIT or path.with_suffix(".data").exists(),
                extra_options={"symmetric": form.symmetric, **settings},
            )
            for arrays in inputs:
                calibrator.collect_data(_Reader(arrays))
            return calibrator.compute_data()
    except Exception as error:  # ONNX Runtime's and numpy's errors have no other common class
        raise ConversionError(f"calibration failed: {first_line(error)}") from error


class _Reader:
    """One input, in the form that ONNX Runtime's calibrators read."""

    def __init__(self, arrays: Arrays) -> None:
        self.inputs: Iterator[Arrays] = iter([arrays])

    def get_next(self) -> "Arrays | None":
        return next(self.inputs, None)


def _quantized(path: Path, ranges: Any, request: Request) -> Any:
    """Return the model with Q/DQ pairs. Biases stay in FP32: TensorRT needs that, and ONNX Runtime is as fast."""
    from onnxruntime.quantization import QDQQuantizer, QuantType

    form = _form(request)
    with silent():
        quantizer = QDQQuantizer(
            edit.load(path),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8 if form.symmetric else QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=list(request.kept),
            op_types_to_quantize=list(form.operators),
            extra_options={
                "ActivationSymmetric": form.symmetric,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                # Made for quantized biases; it fails on a Gemm's bias of shape [1, N] (no issue known).
                "QDQDisableWeightAdjustForInt32Bias": True,
                "OpTypesToExcludeOutputQuantization": list(form.open_ended),
                "DedicatedQDQPair": request.for_tensorrt,
            },
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    quantized = quantizer.model.model
    qdq.drop_unused_domains(quantized)
    return quantized


RECIPE = Recipe(
    lower=lower,
    costs=costs,
    precision=comparison.INT8,
    max_accuracy_drop=0.03,
    calibrated=True,
    differs_for_tensorrt=True,
)
