"""What the parser of the real server says of texts, word for word."""

import random
import re
from pathlib import Path

import pytest

from modelrepo.generator.lint.text import read
from modelrepo.server import running_server
from tests.differential.verdicts import LIGHT, light_backend, write
from tests.generator.lint.test_parser import READ, REFUSED

MUTATED, SEED = 600, 18
PIECES = (*"{}[]<>:,;\"'\\#.-+0189xeEfF \n\t_aT\0\x01@/é", "0x", "08", "1e", "\\q", "TYPE_FP32", "true", "inf")
# The field comes with a release that is newer than this server.
TEXTS = tuple(text for text in (*REFUSED, *READ) if "model_metrics" not in text and "\r" not in text)
SAID = re.compile(r"^\[libprotobuf ERROR .*?\] (Error parsing text-format .*)$", re.MULTILINE)
REFUSED_MODEL = re.compile(r"Poll failed for model directory '(t\d+)': failed to read text proto")


def mutated(text: str, draw: random.Random) -> str:
    """Return a text with a few characters removed, added or repeated."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        begins = draw.randrange(len(text) + 1)
        ends = min(len(text), begins + draw.choice((1, 1, 2, 5, 20)))
        text = text[:begins] + draw.choice(("", draw.choice(PIECES), 2 * text[begins:ends])) + text[ends:]
    return text


@pytest.fixture(scope="module")
def texts() -> list[str]:
    draw = random.Random(SEED)
    known = [f'backend: "{LIGHT}" {text}' for text in TEXTS]
    return [*known, *(mutated(draw.choice(known), draw) for _ in range(MUTATED))]


def test_each_text_is_read_as_triton_reads_it(tmp_path: Path, texts: list[str]) -> None:
    library, repository = light_backend(tmp_path), tmp_path / "models"
    for number, text in enumerate(texts):
        write(repository, f"t{number}", text, library)
    with running_server(repository, runtime="local", control="none", auto_complete=True, keep_going=True) as server:
        log = Path(server.log).read_bytes().decode("utf-8", "replace")
    said, begins = {}, 0
    for refused in REFUSED_MODEL.finditer(log):
        errors = SAID.findall(log, begins, refused.start())
        said[refused[1]], begins = errors[0], refused.end()
    ours = {f"t{number}": read(tmp_path, text).triton_error for number, text in enumerate(texts)}
    wrong = {name: (error, said.get(name)) for name, error in ours.items() if error != said.get(name, "")}
    assert not wrong
    assert len(said) > MUTATED // 2
