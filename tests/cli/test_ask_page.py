"""The examples of docs/how-to/ask-a-model.md that need no part of this project: curl and tritonclient."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelrepo.server import running_server
from tests.conftest import PROJECT
from tests.served_models import write_for_kinds, write_iris

PAGE = (PROJECT / "docs/how-to/ask-a-model.md").read_text("utf-8")


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Yield the addresses of a server with a model like the page's, by those of the page."""
    with running_server(write_iris(tmp_path_factory.mktemp("repository"))) as server:
        yield {
            "127.0.0.1:8000": server.http_url.removeprefix("http://"),
            "127.0.0.1:8001": server.grpc_url.removeprefix("grpc://"),
        }


def examples(language: str, ports: dict[str, str]) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    for shown, real in ports.items():
        found = [code.replace(shown, real) for code in found]
    return found


def test_the_examples_of_tritonclient_run(ports: dict[str, str], tmp_path: Path) -> None:
    http, grpc = examples("python", ports)
    for code, printed in ((http, "[[b'setosa']\n [b'virginica']]"), (grpc, "0:setosa")):
        run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert printed in run.stdout
        assert run.stdout.endswith("version 1\n")


def test_the_example_of_tables_on_the_clients_page_runs(ports: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("a,b,c,d,species\n5.1,3.5,1.4,0.2,setosa\n")
    page = (PROJECT / "docs/reference/clients.md").read_text("utf-8")
    (code,) = (each for each in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "open_table" in each)
    code = code.replace("127.0.0.1:8001", ports["127.0.0.1:8001"])
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.stdout == "2 setosa [b'setosa'] 1\n", run.stderr


def test_the_example_of_pictures_on_the_clients_page_runs(tmp_path: Path) -> None:
    Image.new("RGB", (8, 9), (200, 1, 2)).save(tmp_path / "picture.jpg", quality=100)
    page = (PROJECT / "docs/reference/clients.md").read_text("utf-8")
    (code,) = (each for each in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "picture.jpg" in each)
    with running_server(write_for_kinds(tmp_path / "repository")) as server:
        code = code.replace("grpc://127.0.0.1:8001", server.grpc_url)
        run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.stdout.splitlines()[1:] == ["[[b'a text']]", "[[b'one']", " [b'two']]"], run.stderr


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_examples_of_curl_run(ports: dict[str, str]) -> None:
    (code,) = examples("sh", ports)
    run = subprocess.run(["/bin/sh", "-ec", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert '"name":"input","datatype":"FP32","shape":[-1,4]' in run.stdout
    assert '"model_version":"1"' in run.stdout
    assert '"data":["setosa"]' in run.stdout
    assert np.isclose(float(re.findall(r'"data":\[([\d.e-]+),', run.stdout)[0]), 1.0, atol=0.1)
