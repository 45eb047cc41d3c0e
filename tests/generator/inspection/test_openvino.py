"""OpenVINO's own format: layers, constants, and the .bin file."""

from pathlib import Path

import pytest

from modelrepo.generator.inspection.inspection import Inspection, Node, Tensor
from modelrepo.generator.inspection.openvino import inspect
from tests.generator.inspection.damage import survives

# As OpenVINO writes a matrix of half precision, with its conversion.
IR = """<?xml version="1.0"?>
<net name="net" version="11">
<layers>
<layer id="0" name="x" type="Parameter" version="opset1"><data shape="1..8,4" element_type="f32"/>
<output><port id="0" precision="FP32" names="x"><dim>-1</dim><dim>4</dim></port></output></layer>
<layer id="1" name="w" type="Const" version="opset1"><data offset="0" size="40" element_type="f16" shape="4, 5"/>
<output><port id="0" precision="FP16"><dim>4</dim><dim>5</dim></port></output></layer>
<layer id="2" name="w/half" type="Convert" version="opset1"><data destination_type="f32"/>
<input><port id="0"/></input><output><port id="1" precision="FP32"><dim>4</dim><dim>5</dim></port></output></layer>
<layer id="3" name="mul" type="MatMul" version="opset13"><input><port id="0"/><port id="1"/></input>
<output><port id="2" precision="FP32" names="y,logits"><dim>-1</dim><dim>5</dim></port></output></layer>
<layer id="4" name="out" type="Result" version="opset1"/>
</layers>
<edges>
<edge from-layer="0" from-port="0" to-layer="3" to-port="0"/>
<edge from-layer="1" from-port="0" to-layer="2" to-port="0"/>
<edge from-layer="2" from-port="1" to-layer="3" to-port="1"/>
<edge from-layer="3" from-port="2" to-layer="4" to-port="0"/>
</edges>
<rt_info><Runtime_version value="2026.3.0-1"/></rt_info>
</net>
"""


def laid(folder: Path, xml: str = IR, weights: int = 40) -> Path:
    path = folder / "model.xml"
    path.write_text(xml, "utf-8")
    (folder / "model.bin").write_bytes(bytes(weights))
    return path


def verdict(found: Inspection) -> tuple[str, str]:
    assert found.batching is not None
    return found.batching.verdict, found.batching.by


def test_a_model_is_described(tmp_path: Path) -> None:
    found = inspect(laid(tmp_path))
    assert found.valid
    assert found.inputs == (Tensor("x", "FP32", (None, 4)),)
    assert found.outputs == (Tensor("y", "FP32", (None, 5)),)
    assert verdict(found) == ("yes", "x")
    assert found.operators == {"Convert": 1, "MatMul": 1}
    assert found.nodes[1] == Node("mul", "MatMul", ("x", "w/half"), ("y",), (), ((None, 5),))
    (weight,) = found.weights
    assert (weight.name, weight.layer, weight.data_type, weight.bytes) == ("w", "mul", "FP16", 40)
    assert (weight.parameters, weight.external) == (20, "model.bin")
    assert found.files == {"model.xml": len(IR), "model.bin": 40}
    assert found.facts == (
        ("IR version", "11"),
        ("name", "net"),
        ("written by", "2026.3.0-1"),
        ("newest opset", "opset13"),
        ("size x[0]", "1 to 8"),
        ("names of one value", "y, logits"),
    )
    assert [use.verdict for use in found.uses] == ["yes"]


@pytest.mark.parametrize(
    ("old", "new", "batching"),
    [
        ('"1..8,4"', '"?,4"', ("yes", "x")),
        ('"1..8,4"', '"1,4"', ("no", "x")),
        ('"1..8,4"', '"..."', ("unknown", "x")),
        ('"1..8,4"', '""', ("no", "x")),
        ('names="y,logits"><dim>-1</dim>', 'names="y"><dim>1</dim>', ("no", "y")),
    ],
)
def test_batches_follow_from_the_shapes(tmp_path: Path, old: str, new: str, batching: tuple[str, str]) -> None:
    assert verdict(inspect(laid(tmp_path, IR.replace(old, new)))) == batching


def test_a_layer_that_loses_the_batch_leaves_it_unknown(tmp_path: Path) -> None:
    lost = IR.replace('name="w/half"', 'name="mean"').replace(
        '<edge from-layer="1" from-port="0" to-layer="2"', "<none"
    )
    lost = lost.replace("</edges>", '<edge from-layer="0" from-port="0" to-layer="2" to-port="0"/></edges>')
    assert verdict(inspect(laid(tmp_path, lost))) == ("unknown", "mean")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('precision="FP32" names="x"', 'precision="BF16" names="x"', "the backend does not take BF16, the type of x"),
        (' names="x"', "", "an input or output has no name, and the backend goes by names"),
        ('version="11"', 'version="7"', "its OpenVINO does not read this version of the format"),
    ],
)
def test_what_the_backend_refuses_is_said(tmp_path: Path, old: str, new: str, reason: str) -> None:
    (use,) = inspect(laid(tmp_path, IR.replace(old, new))).uses
    assert (use.verdict, use.reason) == ("no", reason)


@pytest.mark.parametrize(
    ("opset", "verdicts"),
    [("opset14", ("yes", "yes")), ("opset15", ("yes", "unknown")), ("opset16", ("unknown", "unknown")),
     ("extension", ("unknown", "unknown"))],
)  # fmt: skip
def test_a_release_must_know_the_operation_sets(tmp_path: Path, opset: str, verdicts: tuple[str, str]) -> None:
    uses = inspect(laid(tmp_path, IR.replace("opset13", opset))).uses
    found = {release: use.verdict for use in uses for release in use.releases}
    assert (found["26.09"], found["24.10"]) == verdicts


def test_missing_and_short_weights_are_faults(tmp_path: Path) -> None:
    path = laid(tmp_path, weights=39)
    assert inspect(path).faults == ("its weights are cut off: model.bin has 39 bytes of 40",)
    (tmp_path / "model.bin").unlink()
    assert inspect(path).faults == ("its weights are missing: model.bin, 40 bytes",)


def test_a_body_is_a_level_deeper(tmp_path: Path) -> None:
    inner = IR.partition("<layers>")[2].partition("<rt_info>")[0].replace('name="', 'name="in/')
    loop = f'<layer id="9" name="loop" type="Loop"><body><layers>{inner}</body></layer>\n</layers>'
    found = inspect(laid(tmp_path, IR.replace("</layers>", loop)))
    assert [(node.name, node.level) for node in found.nodes][2:] == [("loop", 0), ("in/w/half", 1), ("in/mul", 1)]
    assert [each.name for each in found.weights] == ["w", "in/w"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "it is empty"),
        ("<html></html>", "its XML is <html>, not the <net> of OpenVINO"),
        ('<net version="11"><layers><layer id="0" type="Parameter"/></layers></net>', "is damaged"),
        ("not XML", "it is not XML, or is truncated"),
    ],
)
def test_what_is_no_model_is_a_fault(tmp_path: Path, text: str, fault: str) -> None:
    (found,) = inspect(laid(tmp_path, text)).faults
    assert fault in found


def test_damaged_files_never_raise(tmp_path: Path) -> None:
    found = survives(inspect, laid(tmp_path))
    assert sum(not each.valid for each in found) > 100
