"""Models that can't be exported: one line names the operator, the line of the user's code, and the page with help."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from modelrepo.generator.export.torch import troubles
from modelrepo.generator.export.torch.troubles import Trouble
from tests.conftest import PROJECT, Generate, snapshot

PAGE = PROJECT / troubles.PAGE
HEAD = "import torch\nfrom torch import nn\nfrom torch.nn import functional\n\n\n"
FOOT = "\n\ndef make():\n    return Net()\n"
NET = "class Net(nn.Module):\n    def forward(self, x):\n"
ROW = ("--input-shape", "x=1x4:float32")
MATRIX = ("--input-shape", "x=1x4x4:float32")
OPERATOR = """@torch.library.custom_op("mine::twist", mutates_args=())
def twist(x: torch.Tensor) -> torch.Tensor:
    return x.flip(-1) * 2


{fake}{net}        return torch.ops.mine.twist(x)
"""
FAKE = "@twist.register_fake\ndef _(x):\n    return torch.empty_like(x)\n\n\n"
QUANTIZED = """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 4)), {nn.Linear})

    def forward(self, x):
        return self.layers(x)
"""
BIAS = """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return x + self.bias
"""
AUTOCAST = """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.layer(x).float()
"""
LOST = """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.tables = {}

    def forward(self, x):
        return self.tables["missing"] if torch.compiler.is_compiling() or torch.jit.is_tracing() else x
"""
# name of the golden message: the code, and how it is asked.
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "operator": (f"{NET}        return torch.linalg.inv(x + torch.eye(4))\n", MATRIX),
    "sparse": (f"{NET}        return torch.sparse.mm(torch.eye(4).to_sparse(), x.T).T\n", ROW),
    "custom-operator": (OPERATOR.format(fake=FAKE, net=NET), ROW),
    "custom-operator-without-fake": (OPERATOR.format(fake="", net=NET), ROW),
    "opset": (
        f"{NET}        return functional.grid_sample(x, x[..., :2])\n",
        ("--input-shape", "x=1x4x4x4:float32", "--opset", "13"),
    ),
    "branch-on-values": (f"{NET}        return (lambda: x + 1 if x.sum() > 0 else x - 1)()\n", ROW),
    "branch-on-a-size": (
        f"{NET}        return (lambda: x.sum(1) if len(x) > 1 else x.prod(1))()\n",
        (*ROW, "--dynamic", "x:0=batch"),
    ),
    "size-of-a-parameter": (BIAS, (*ROW, "--dynamic", "x:0=batch,1=width")),
    "type": (AUTOCAST, ROW),
    "complex": (f"{NET}        return torch.exp(torch.complex(x, x)).abs()\n", ROW),
    "quantized": (QUANTIZED, ROW),
    "gradient": (f"{NET}        return torch.func.grad(lambda x: (x**3).sum())(x)\n", ROW),
    "generator": (f"{NET}        return x + torch.rand(4, generator=torch.Generator().manual_seed(0))\n", ROW),
    "anything-else": (LOST, ROW),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_failed_export_names_the_line_and_changes_nothing(
    generate: Generate, workdir: Path, golden: Callable[[str, str], None], case: str
) -> None:
    code, arguments = CASES[case]
    (workdir / "net.py").write_text(HEAD + code + FOOT)
    before = snapshot(workdir)
    outcome = generate("--model", "python:net:make", *arguments, "--quiet")
    assert outcome.code == 4, outcome.err
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.out == ""
    assert snapshot(workdir) == before
    golden(f"messages/troubles/{case}.txt", outcome.err)


def test_randomness_in_evaluation_leads_to_the_page(generate: Generate, workdir: Path) -> None:
    (workdir / "net.py").write_text(HEAD + NET + "        return functional.dropout(x, 0.5)\n" + FOOT)
    outcome = generate("--model", "python:net:make", *ROW, "--quiet")
    assert outcome.code == 5
    assert f"{troubles.PAGE}#dropout" in outcome.err


def test_a_trouble_shared_by_exporters_is_reported_once() -> None:
    told = troubles.summary([Trouble("no a", "", "net.py, line 1"), Trouble("no a", ""), Trouble("no b", "")])
    assert told == "no a (net.py, line 1); no b"
    told = troubles.summary([Trouble("no a", ""), Trouble("no a", "", "line 1"), Trouble("no b", "", "line 1")])
    assert told == "no a (line 1); no b"


@pytest.mark.parametrize(
    ("message", "what", "anchor"),
    [
        (
            "DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes",
            "there is not enough memory",
            "memory",
        ),
        ("Found no NVIDIA driver on your system.", "it puts tensors on a device of its own", "devices"),
        (
            "Exporting the operator 'aten::col2im' to ONNX opset version 17 is not supported. Support for this "
            "operator was added in version 18, try exporting with this version",
            "col2im needs opset 18",
            "opset",
        ),
        (
            "Tried to trace <__torch__.Net object at 0x7> but it is not part of the active trace.",
            "a part of it is TorchScript",
            "torchscript",
        ),
        (
            "Tracer cannot set value trace for type Int. Supported types are tensor, tensor list.",
            "it answers a number (Int) beside its tensors",
            "torchscript",
        ),
        (
            "[ONNXRuntimeError] : 10 : INVALID_GRAPH : Type Error: Type 'tensor(int32)' of input parameter (a) of "
            "operator (ScatterND) in node (b) is invalid.",
            "the exporter wrote ScatterND of int32, which ONNX does not have",
            "dtypes",
        ),
    ],
)
def test_errors_that_are_hard_to_provoke_are_explained(message: str, what: str, anchor: str) -> None:
    trouble = troubles.explain(RuntimeError(message))
    assert trouble.what == what
    assert trouble.hint.endswith(f"{troubles.PAGE}#{anchor}")


def test_the_innermost_cause_of_an_error_is_explained() -> None:
    outer = RuntimeError("Failed to export the model")
    outer.__cause__ = RuntimeError("Could not guard on data-dependent expression u0 > 0")
    assert troubles.explain(outer).what == "what its Python does depends on the values of a tensor"


# The page.


def test_every_section_that_the_code_names_is_in_the_page() -> None:
    headings = re.findall(r"^## (.+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
    named = {symptom.anchor for symptom in troubles.SYMPTOMS}
    for file in (PROJECT / "generator").rglob("*.py"):
        named.update(re.findall(r"when-export-fails\.md#([\w-]+)", file.read_text("utf-8")))
    assert named <= anchors
    links = set(re.findall(r"\]\(#([\w-]+)\)", PAGE.read_text("utf-8")))
    assert links <= anchors


MODULES = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_the_page_can_be_exported(generate: Generate, workdir: Path, name: str) -> None:
    ast.parse(MODULES[name])
    (workdir / f"{name}.py").write_text(MODULES[name])
    commands = re.findall(rf"^generate --model (python:{name}:make.*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    arguments = commands[0].split() if commands else [f"python:{name}:make"]
    outcome = generate("--model", *arguments, "--max-batch-size", "3", "--json", "--quiet")
    assert outcome.code == 0, outcome.err
    assert outcome.result["verification"]["passed"]


def test_an_operator_with_the_users_translation_is_served_by_triton(generate: Generate, workdir: Path) -> None:
    (workdir / "twisted.py").write_text(MODULES["twisted"])
    outcome = generate("--model", "python:twisted:make", "--live-check", "require", "--json", "--quiet")
    assert outcome.code == 0, outcome.err
    assert outcome.result["verification"]["live"]["status"] == "passed"


def test_invalid_translations_are_refused(generate: Generate, workdir: Path) -> None:
    broken = MODULES["twisted"].replace(".default: twist_in_onnx", '.default: "twist"')
    (workdir / "twisted.py").write_text(broken)
    outcome = generate("--model", "python:twisted:make", "--quiet")
    assert outcome.code == 3
    assert "ONNX_TRANSLATIONS of twisted does not map operators to functions" in outcome.err
