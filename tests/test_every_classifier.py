"""Every torchvision classifier is exported, verified and published: most of an hour, and the coverage page."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import pytest
from torchvision import models

from tests.conftest import PROJECT

pytestmark = pytest.mark.slow
PAGE = PROJECT / "docs/reference/coverage.md"
HEAD = """# Coverage

<!-- Made by: pytest tests/test_every_classifier.py --update-goldens -->

torchvision's classification models with random weights and their own image size, each generated with
`--max-batch-size 4`. The worst difference is relative to the answer's magnitude; seconds are of the whole command, on a
machine with two cores that other work shared.

Without trained weights some networks hardly depend on their input: their comparison proves little, and is marked so.

| model | input | MB | exporter | worst difference | reacts to its input | batch-invariant | seconds |
|---|---|---|---|---|---|---|---|
"""
CLASSIFIERS = models.list_models(module=models)


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    found: dict[str, str] = {}
    yield found
    if request.config.getoption("--update-goldens") and len(found) == len(CLASSIFIERS):
        PAGE.write_text(HEAD + "".join(found[name] for name in CLASSIFIERS), "utf-8")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_is_published(name: str, tmp_path: Path, rows: dict[str, str]) -> None:
    command = [sys.executable, "-c", "from cli.entry import generate; generate()", "--model", name]
    run = subprocess.run(
        [*command, "--weights", "random", "--max-batch-size", "4", "--json", "-q"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    (result,) = report["results"]
    found = result["verification"]
    assert (result["status"], result["max_batch_size"], found["passed"]) == ("published", 4, True)
    assert found["max_abs_diff"] > 0, "nothing was compared that could differ"
    # Untrained networks may hardly react to their input; nothing else may be wrong.
    assert all("proves little" in note for note in result["notes"])

    folder = Path(result["path"])
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    assert (folder / "model.onnx.data").exists() == (size > 2140)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape
    assert session.get_outputs()[0].shape == [shape[0], 1000] == ["batch", 1000]
    for file in folder.iterdir():
        file.unlink()
    manifest = json.loads((tmp_path / f".modelrepo/model_repository/manifests/{name}/1.json").read_text())
    exporter = manifest["provenance"]["source"]["exporter"]
    rows[name] = (
        f"| {name} | {'x'.join(map(str, shape[1:]))} | {size:.0f} | {exporter} | {found['max_rel_diff']:.1e} | "
        f"{'hardly' if result['notes'] else 'yes'} | "
        f"{'yes' if found['batch_invariant'] else 'no'} | {report['seconds']['total']:.0f} |\n"
    )
