"""The operators of ONNX that TensorRT's parser lists, and the element types that it knows.

Source: docs/operators.md of onnx-tensorrt, in its versions for TensorRT 10.1 and 10.15. The parser looks an operator up
by its name alone, whatever its domain (``ModelImporter.cpp``). A listed operator may still be refused for its
attributes or shapes, and one that is not listed is built if a plugin has its name: only a build shows it.
"""

# The TensorRT whose list this is, and the opsets that it reads.
LIST_OF, OLDEST_LIST = (10, 15), (10, 1)
# Listed for 10.15, and not yet for 10.1.
RECENT = frozenset(
    (
        *("Attention", "BlackmanWindow", "HammingWindow", "HannWindow", "RMSNormalization", "RotaryEmbedding"),
        *("STFT", "TensorScatter"),
    )
)
LISTED = RECENT | frozenset(
    (
        *("Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "AveragePool"),
        *("BatchNormalization", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Concat", "Constant", "ConstantOfShape"),
        *("Conv", "ConvTranspose", "Cos", "Cosh", "CumSum", "DeformConv", "DepthToSpace", "DequantizeLinear", "Div"),
        *("Dropout", "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand", "EyeLike", "Flatten", "Floor", "Gather"),
        *("GatherElements", "GatherND", "Gelu", "Gemm", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"),
        *("Greater", "GreaterOrEqual", "GridSample", "GroupNormalization", "GRU", "HardSigmoid", "HardSwish"),
        *("Hardmax", "Identity", "If", "ImageScaler", "InstanceNormalization", "IsInf", "IsNaN", "LayerNormalization"),
        *("LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax", "Loop", "LRN", "LSTM", "LpNormalization", "LpPool"),
        *("MatMul", "Max", "MaxPool", "Mean", "MeanVarianceNormalization", "Min", "Mish", "Mod", "Mul", "Neg"),
        *("NonMaxSuppression", "NonZero", "Not", "OneHot", "Or", "Pad", "ParametricSoftplus", "Pow", "PRelu"),
        *("QuantizeLinear", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Range"),
        *("Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
        *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Resize", "ReverseSequence"),
        *("RNN", "RoiAlign", "Round", "ScaledTanh", "Scan", "Scatter", "ScatterElements", "ScatterND", "Selu", "Shape"),
        *("Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Size", "Slice", "Softmax", "Softplus", "Softsign"),
        *("SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tan", "Tanh", "ThresholdedRelu", "Tile", "TopK"),
        *("Transpose", "Trilu", "Unsqueeze", "Upsample", "Where", "Xor"),
    )
)
# Operators that are listed with a condition on their attributes or inputs that a file need not meet.
CONDITIONAL = frozenset(
    (
        *("Attention", "AveragePool", "CumSum", "DeformConv", "EyeLike", "GridSample", "GRU", "Hardmax", "If", "Loop"),
        *("LSTM", "LpPool", "MaxPool", "OneHot", "QuantizeLinear", "DequantizeLinear", "ReduceL1", "ReduceL2"),
        *("ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"),
        *("ReduceSumSquare", "Resize", "RNN", "RotaryEmbedding", "STFT", "ScatterND", "Squeeze", "TensorScatter"),
        *("TopK", "Unsqueeze"),
    )
)
# Element types of onnx.TensorProto that the parser has no type for.
REFUSED_TYPES = frozenset(
    (
        *("INT16", "UINT16", "UINT32", "UINT64", "STRING", "COMPLEX64", "COMPLEX128"),
        *("FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"),
    )
)


def version_of(written: str | None) -> tuple[int, int] | None:
    """Return the first two numbers of a version of TensorRT; None if they are not known."""
    parts = (written or "").split(".")[:2]
    return (int(parts[0]), int(parts[1])) if len(parts) == 2 and all(part.isdigit() for part in parts) else None
