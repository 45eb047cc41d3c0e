"""Shapes that ONNX infers."""

import subprocess
import sys

import onnx

from modelrepo.generator.graphs.edit import infer_shapes

CODES = """<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3, "com.microsoft" : 1]>
g (string[n] x) => (int64[n, m] codes, float[n] twice) {
  words = com.microsoft.Tokenizer <mark = 0, pad_value = "", separators = [" "]> (x)
  codes = ai.onnx.ml.LabelEncoder <keys_strings = ["a"], values_int64s = [1]> (words)
  one = Constant <value = float[1] {1.0}> ()
  sum = Add (one, one)
  twice = Identity (sum)
}"""


def test_the_shapes_of_a_model_with_a_label_encoder_behind_a_tokenizer_are_inferred() -> None:
    known = infer_shapes(onnx.parser.parse_model(CODES))
    assert len(known.graph.node) == 5
    assert "sum" in {value.name for value in known.graph.value_info}


def test_onnx_itself_dies_of_it() -> None:
    script = f"import onnx; onnx.shape_inference.infer_shapes(onnx.parser.parse_model({CODES!r}))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode != 0
