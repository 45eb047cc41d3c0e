"""ONNX files written by hand: control flow, quantized operators, whole numbers, and operators of ai.onnx.ml."""
# ruff: noqa: E501 - a table, a row a line

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Onnx:
    """A graph in ONNX's text form, without its header."""

    graph: str
    whole: tuple[int, int] | None = None
    texts: tuple[str, ...] = ()
    missing: bool = False


HEADER = '<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]>\n'
WORDS = ("red", "green", "blue")
F, F3, K, S = "float[N, 6] x", "float[N, 4, 6] x", "int64[N, 5] k", "string[N, 3] s"
# fmt: off
_TREE = ("nodes_treeids = [0, 0, 0, 0, 0], nodes_nodeids = [0, 1, 2, 3, 4], nodes_featureids = [0, 0, 1, 0, 0], nodes_values = [{a}, 0.0, {b}, 0.0, 0.0], nodes_modes = [\"{mode}\", \"LEAF\", \"{mode}\", \"LEAF\", \"LEAF\"], nodes_truenodeids = [1, 0, 3, 0, 0], nodes_falsenodeids = [2, 0, 4, 0, 0], nodes_missing_value_tracks_true = [{m}, 0, {n}, 0, 0]")
_REGRESSOR = 'agraph (float[N, 2] x) => (float[N, 1] y) {{ y = ai.onnx.ml.TreeEnsembleRegressor <{tree}, n_targets = 1, target_ids = [0, 0, 0], target_nodeids = [1, 3, 4], target_treeids = [0, 0, 0], target_weights = [1.5, -2.0, 4.0]> (x) }}'


def _tree(a: float, b: float, mode: str, m: int, n: int) -> Onnx:
    return Onnx(_REGRESSOR.format(tree=_TREE.format(a=a, b=b, mode=mode, m=m, n=n)), missing=True)


MODELS = {
    "tree leq": _tree(0.5, -1.25, "BRANCH_LEQ", 1, 0), "tree lt": _tree(2.0, 0.75, "BRANCH_LT", 0, 1), "tree gt": _tree(-0.5, 3.0, "BRANCH_GT", 0, 0),
    "if": Onnx(f"agraph ({F}) => (float[N, 6] y) {{ one = Constant <value = float {{100.0}}> () m = ReduceMax <keepdims = 0> (x) c = Greater (m, one) y = If (c) <then_branch = t () => (float[N, 6] p) {{ p = Div (x, one) }}, else_branch = e () => (float[N, 6] q) {{ q = Neg (x) }}> }}"),
    "if sign": Onnx(f"agraph ({F}) => (float[N, 6] y) {{ zero = Constant <value = float {{0.0}}> () m = ReduceSum <keepdims = 0> (x) c = Less (m, zero) y = If (c) <then_branch = t () => (float[N, 6] p) {{ p = Abs (x) }}, else_branch = e () => (float[N, 6] q) {{ two = Constant <value = float {{2.0}}> () q = Mul (x, two) }}> }}"),
    "loop": Onnx(f"agraph ({F}) => (float[N, 6] y) {{ n = Constant <value = int64 {{3}}> () c = Constant <value = bool {{1}}> () y = Loop (n, c, x) <body = b (int64 i, bool ci, float[N, 6] vi) => (bool co, float[N, 6] vo) {{ co = Identity (ci) h = Constant <value = float {{0.5}}> () v = Mul (vi, h) vo = Add (v, h) }}> }}"),
    "loop until": Onnx(f"agraph ({F}) => (float[N, 6] y) {{ n = Constant <value = int64 {{20}}> () c = Constant <value = bool {{1}}> () y = Loop (n, c, x) <body = b (int64 i, bool ci, float[N, 6] vi) => (bool co, float[N, 6] vo) {{ h = Constant <value = float {{0.5}}> () l = Constant <value = float {{8.0}}> () vo = Mul (vi, h) a = Abs (vo) m = ReduceMax <keepdims = 0> (a) co = Greater (m, l) }}> }}"),
    "where": Onnx(f"agraph ({F}) => (float[N, 6] y) {{ l = Constant <value = float {{10.0}}> () c = GreaterOrEqual (x, l) d = Div (x, l) y = Where (c, d, x) }}"),
    "where equal": Onnx(f"agraph ({F}) => (float[N, 6] y) {{ l = Constant <value = float {{0.0}}> () c = Equal (x, l) d = Constant <value = float {{-9.0}}> () y = Where (c, d, x) }}"),
    "clip": Onnx(f"agraph ({F}) => (float[N, 6] y) {{ l = Constant <value = float {{-2.0}}> () h = Constant <value = float {{40.0}}> () y = Clip (x, l, h) }}"),
    "logic": Onnx(f"agraph ({F}) => (bool[N, 6] y) {{ l = Constant <value = float {{-2.0}}> () h = Constant <value = float {{3.0}}> () a = Greater (x, l) b = Less (x, h) y = And (a, b) }}"), "logic or": Onnx(f"agraph ({F}) => (bool[N, 6] y) {{ l = Constant <value = float {{-20.0}}> () h = Constant <value = float {{3.0}}> () a = LessOrEqual (x, l) b = Greater (x, h) y = Or (a, b) }}"),
    "mod": Onnx(f"agraph ({K}) => (int64[N, 5] y) {{ n = Constant <value = int64 {{4}}> () y = Mod (k, n) }}", (-30, 30)), "fmod": Onnx(f"agraph ({F}) => (float[N, 6] y) {{ n = Constant <value = float {{3.0}}> () y = Mod <fmod = 1> (x, n) }}"), "int div": Onnx(f"agraph ({K}) => (int64[N, 5] y) {{ n = Constant <value = int64 {{4}}> () y = Div (k, n) }}", (-30, 30)), "narrow": Onnx(f"agraph ({K}) => (int64[N, 5] y) {{ n = Constant <value = int64 {{1000}}> () m = Mul (k, n) y = Mul (m, n) }}", (-99999, 99999)), "shift": Onnx("agraph (uint32[N, 5] k) => (uint32[N, 5] y) { n = Constant <value = uint32 {2}> () y = BitShift <direction = \"LEFT\"> (k, n) }", (0, 900)),
    "gather": Onnx(f"agraph ({K}) => (float[N, 5, 2] y) <float[4, 2] w = {{1, 2, 3, 4, 5, 6, 7, 8}}> {{ y = Gather (w, k) }}", (-4, 3)), "gather elements": Onnx("agraph (float[N, 6] x, int64[N, 2] k) => (float[N, 2] y) { y = GatherElements <axis = 1> (x, k) }", (-6, 5)), "one hot": Onnx(f"agraph ({K}) => (float[N, 5, 4] y) {{ d = Constant <value = int64 {{4}}> () v = Constant <value = float[2] {{0.0, 2.0}}> () y = OneHot (k, d, v) }}", (-4, 3)), "cast": Onnx(f"agraph ({F}) => (int64[N, 6] y) {{ y = Cast <to = 7> (x) }}"), "round": Onnx(f"agraph ({F}) => (float[N, 6] y) {{ r = Round (x) f = Floor (x) y = Add (r, f) }}"), "scatter": Onnx("agraph (float[N, 6] x, int64[N, 2] k) => (float[N, 6] y) <float[1, 2] u = {5, 7}> { s = Shape (k) v = Expand (u, s) y = ScatterElements <axis = 1> (x, k, v) }", (-6, 5)),
    "quantized": Onnx(f"agraph ({F}) => (float[N, 3] y) <float s = {{0.1}}, uint8 z = {{120}}, int8[6, 3] w = {{1, -2, 3, 50, -60, 70, 7, 8, -9, 10, 11, 12, -13, 14, 15, 16, -17, 18}}, float ws = {{0.05}}, int8 wz = {{0}}, float os = {{0.4}}, uint8 oz = {{100}}> {{ q = QuantizeLinear (x, s, z) m = QLinearMatMul (q, s, z, w, ws, wz, os, oz) y = DequantizeLinear (m, os, oz) }}"), "quantize": Onnx(f"agraph ({F}) => (uint8[N, 6] y) <float s = {{0.5}}, uint8 z = {{128}}> {{ y = QuantizeLinear (x, s, z) }}"), "dynamic quantized": Onnx(f"agraph ({F}) => (float[N, 6] y) {{ q, s, z = DynamicQuantizeLinear (x) y = DequantizeLinear (q, s, z) }}"),
    "softmax": Onnx(f"agraph ({F3}) => (float[N, 4, 6] y) {{ y = Softmax <axis = 1> (x) }}"), "argmax": Onnx(f"agraph ({F3}) => (int64[N, 4] y) {{ y = ArgMax <axis = 2, keepdims = 0> (x) }}"), "topk": Onnx(f"agraph ({F}) => (float[N, 3] y, int64[N, 3] i) {{ n = Constant <value = int64[1] {{3}}> () y, i = TopK (x, n) }}"), "cumsum": Onnx(f"agraph ({F3}) => (float[N, 4, 6] y) {{ a = Constant <value = int64 {{1}}> () y = CumSum <exclusive = 1> (x, a) }}"), "trilu": Onnx("agraph (float[N, 4, 4] x) => (float[N, 4, 4] y) { y = Trilu <upper = 0> (x) }"), "hard": Onnx(f"agraph ({F}) => (float[N, 6] y) {{ a = HardSigmoid <alpha = 0.2, beta = 0.4> (x) b = LeakyRelu <alpha = 0.1> (x) y = Add (a, b) }}"), "elu": Onnx(f"agraph ({F}) => (float[N, 6] y) {{ a = Elu <alpha = 0.7> (x) b = ThresholdedRelu <alpha = 2.0> (x) y = Sub (a, b) }}"), "gemm": Onnx("agraph (float[N, 3] x) => (float[N, 3] y) <float[3, 3] w = {1, 2, 3, -4, 5, 6, 7, -8, 9}, float[3] b = {1, -2, 3}> { y = Gemm <alpha = 0.5, beta = 2.0, transB = 1> (x, w, b) }"), "reshape": Onnx(f"agraph ({F3}) => (float[N, 24] y) {{ s = Constant <value = int64[2] {{0, -1}}> () y = Reshape (x, s) }}"), "lrn": Onnx("agraph (float[N, 4, 3, 3] x) => (float[N, 4, 3, 3] y) { y = LRN <size = 3, alpha = 0.5, beta = 0.6> (x) }"), "nonzero": Onnx(f"agraph ({F}) => (bool[N, 6] y) {{ a = IsNaN (x) b = IsInf (x) y = Or (a, b) }}", missing=True), "scan": Onnx("agraph (float[5, 6] x) => (float[5, 6] y) <float[6] s = {1, 2, 3, 4, 5, 6}> { l, y = Scan <num_scan_inputs = 1, body = b (float[6] a, float[6] v) => (float[6] o, float[6] r) { o = Add (a, v) r = Identity (o) }> (s, x) }"),
    "labels": Onnx(f'agraph ({S}) => (int64[N, 3] y) {{ y = ai.onnx.ml.LabelEncoder <keys_strings = ["red", "green", "blue"], values_int64s = [5, 6, 7], default_int64 = -1> (s) }}', texts=WORDS), "labels back": Onnx(f'agraph ({K}) => (string[N, 5] y) {{ y = ai.onnx.ml.LabelEncoder <keys_int64s = [0, 1, 2], values_strings = ["a", "b", "c"], default_string = "other"> (k) }}', (-2, 4)), "one hot words": Onnx('agraph (string[N, 1] s) => (float[N, 1, 3] y) { y = ai.onnx.ml.OneHotEncoder <cats_strings = ["red", "green", "blue"], zeros = 1> (s) }', texts=WORDS), "imputer": Onnx(f"agraph ({F}) => (float[N, 6] y) {{ y = ai.onnx.ml.Imputer <imputed_value_floats = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], replaced_value_float = -1.0> (x) }}"), "scaler": Onnx("agraph (float[N, 3] x) => (float[N, 3] y) { y = ai.onnx.ml.Scaler <offset = [1.0, 2.0, -3.0], scale = [0.5, 2.0, 4.0]> (x) }"), "binarizer": Onnx(f"agraph ({F}) => (float[N, 6] y) {{ y = ai.onnx.ml.Binarizer <threshold = 1.5> (x) }}"), "linear classifier": Onnx('agraph (float[N, 2] x) => (int64[N] l, float[N, 3] y) { l, y = ai.onnx.ml.LinearClassifier <classlabels_ints = [0, 1, 2], coefficients = [1.0, -2.0, 0.5, 3.0, -1.0, 1.0], intercepts = [0.1, -0.2, 0.3], multi_class = 1, post_transform = "SOFTMAX"> (x) }'), "normalizer": Onnx(f'agraph ({F}) => (float[N, 6] y) {{ y = ai.onnx.ml.Normalizer <norm = "L1"> (x) }}'), "words": Onnx('agraph (string[3] s) => (string[M] y) { y = StringNormalizer <case_change_action = "LOWER", is_case_sensitive = 0, locale = "C", stopwords = ["a"]> (s) }', texts=(*WORDS, "A", "a", "Red")),
}
# fmt: on


def save(model: Onnx, folder: Path) -> None:
    """Write the graph as ``model.onnx``."""
    import onnx

    parsed = onnx.parser.parse_model(HEADER + model.graph)
    onnx.checker.check_model(parsed)
    onnx.save(parsed, str(folder / "model.onnx"))
