"""What it costs to prepare pictures and texts in the client, in the model's graph, or in an ensemble with Python.

    python benchmarks/preparation_cost.py [SECONDS]

Each way starts from what a user has, the file of a photograph of 500x375 or a text, and ends with the answer. Client
and server share this machine. Concurrency is that of threads that wait for their answers. The ways are asked in turn,
in rounds; ratios are medians of those of each round to the first way.
"""

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from pairs import machine

from modelrepo.clients import Client, connect, load_image, load_pixels
from modelrepo.clients.models import ENCODED, TEXT, Model, Tensor
from modelrepo.generator.errors import first_line
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.repository import Repository
from modelrepo.perf.measuring import had
from modelrepo.server import running_server

ROUNDS, CONCURRENCIES, SAMPLES = 5, (1, 16), 8
# The part of a run that is not counted.
WARM_UP = 0.2
GENERATE = "from modelrepo.cli.entry import generate; generate()"
PREPARE = '''"""A classifier's preparation as a step in Python: what torchvision's weights say, by Pillow."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MEAN, STD = (np.array(each, np.float32) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def prepare(
    pixels: Annotated[NDArray[np.uint8], "[height, width, 3]"],
) -> Annotated[NDArray[np.float32], "prepared=[3, 224, 224]"]:
    """Return the centre of a picture, normalised."""
    picture = Image.fromarray(pixels)
    scale = 256 / min(picture.size)
    resized = picture.resize([int(side * scale) for side in picture.size], Image.Resampling.BILINEAR)
    left, upper = ((side - 224) // 2 for side in resized.size)
    values = np.asarray(resized.crop((left, upper, left + 224, upper + 224)), np.float32) / 255
    return ((values - MEAN) / STD).transpose(2, 0, 1)
'''
PICTURES = """
backends = ["onnx"]

[models.in_client]
model = "resnet18"
weights = "random"

[models.in_graph]
model = "resnet18"
weights = "random"
with_preprocessing = true
[ensembles.decoded]
steps = [{ name = "decode", use = "builtin:decode" }, { name = "classify", use = "in_graph" }]

[ensembles.in_python]
steps = [
  { name = "decode", use = "builtin:decode" },
  { name = "prepare", use = "python:prepare:prepare", requirements = ["pillow", "numpy"] },
  { name = "classify", use = "in_client" },
]
"""
TEXTS = """
backends = ["onnx"]

[models.of_ids]
model = "hf:bert"

[models.of_texts]
model = "hf:bert"
with_preprocessing = true
"""
Inputs = Mapping[str, Any]


@dataclass(frozen=True)
class Way:
    """A way to prepare: its title, the model that is asked, and what the client does with a user's sample."""

    title: str
    model: str
    prepare: Callable[[Any], Inputs]


@dataclass
class Figures:
    """The medians of rounds: latency in ms, samples a second, and the bytes of the values of a request."""

    sent: int
    latency: list[float] = field(default_factory=list)
    throughput: list[float] = field(default_factory=list)


def generated(folder: Path, name: str) -> str:
    """Run generate for a table of modelrepo.toml; return an empty text, or why the model is not published."""
    command = [sys.executable, "-c", GENERATE, "--model", name, "--repository", "models", "--client-dir", "none", "-q"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode == 0 and (folder / "models" / name / "config.pbtxt").exists():
        return ""
    said = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("error")]
    return first_line(said[0] if said else done.stderr.strip() or done.stdout.strip())


def pictures(folder: Path) -> tuple[list[Way], list[str], list[Any]]:
    """Publish a ResNet-18 in every way that can be published; return those, why others are not, and photographs."""
    (folder / "prepare.py").write_text(PREPARE)
    (folder / "modelrepo.toml").write_text(PICTURES)
    missing = [generated(folder, name) for name in ("in_client", "in_graph", "decoded", "in_python")]
    (preprocess,) = (each.provenance.source.preprocess for each in Repository(folder / "models").manifests("in_client"))
    ways = [
        Way("in the client", "in_client", lambda file: {"input": load_image(file, preprocess or {})}),
        Way("in the graph", "in_graph", lambda file: {"": load_pixels(file)[np.newaxis]}),
        Way("in the graph, decoded by a Python step", "decoded", lambda file: {"": file}),
        Way("in an ensemble, decoded and prepared by Python steps", "in_python", lambda file: {"": file}),
    ]
    served = Model("", (), "", 1, (), ())
    samples = []
    for number, array in enumerate(
        had.made(Tensor("", "BYTES", (-1, 1), kind=ENCODED), bool(served), SAMPLES, None, 0)
    ):
        samples.append(folder / f"{number}.jpg")
        samples[-1].write_bytes(array[0])
    return *_published(ways, missing), samples


def texts(folder: Path) -> tuple[list[Way], list[str], list[Any]]:
    """Publish a small BERT in both ways; return those, why others are not, and texts."""
    from tokenizers import Tokenizer

    write_bert(folder / "bert")
    (folder / "modelrepo.toml").write_text(TEXTS)
    missing = [generated(folder, name) for name in ("of_ids", "of_texts")]
    tokenizer = Tokenizer.from_file(str(folder / "bert/tokenizer.json"))

    def tokens(text: str) -> Inputs:
        encoded = tokenizer.encode(text)
        named = {"input_ids": encoded.ids, "attention_mask": encoded.attention_mask, "token_type_ids": encoded.type_ids}
        return {name: np.array([values], np.int64) for name, values in named.items()}

    ways = [
        Way("in the client", "of_ids", tokens),
        Way("in an ensemble, by a Python step", "of_texts", lambda text: {"": text}),
    ]
    made = had.made(Tensor("", "BYTES", (-1, 1), kind=TEXT), True, SAMPLES, None, 0)
    return *_published(ways, missing), [array[0].decode() for array in made]


def write_bert(folder: Path) -> None:
    """Write a BERT of 4 layers with random weights, and a WordPiece tokenizer of the benchmark's own words."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator([had.WORDS] * 2, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special))
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=256, pad_token="[PAD]", unk_token="[UNK]",
        cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip
    wrapped.save_pretrained(folder)
    torch.manual_seed(0)
    size = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
    config = BertConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=256, **size)
    BertForSequenceClassification(config).eval().save_pretrained(folder)


def _published(ways: Sequence[Way], missing: Sequence[str]) -> tuple[list[Way], list[str]]:
    there = [way for way, why in zip(ways, missing, strict=True) if not why]
    return there, [f"{way.title}: not published, {why}" for way, why in zip(ways, missing, strict=True) if why]


def given(client: Client, way: Way, sample: Any) -> Inputs:
    """Return what is sent for a sample: by the name of the model's input, if it has only one."""
    prepared = way.prepare(sample)
    known = client.model(way.model)
    names = [tensor.name for tensor in known.inputs]
    if "" in prepared:
        return {names[0]: prepared[""]}
    return {name: value for name, value in prepared.items() if name in names}


def asked(client: Client, way: Way, samples: Sequence[Any], concurrency: int, seconds: float) -> tuple[float, float]:
    """Ask with so many requests in flight; return the median of the latency in ms, and samples a second."""
    start, stop = time.perf_counter() + WARM_UP * seconds, time.perf_counter() + (1 + WARM_UP) * seconds
    barrier = threading.Barrier(concurrency)

    def loop(number: int) -> list[float]:
        found: list[float] = []
        barrier.wait()
        for sample in cycle([*samples[number % len(samples) :], *samples[: number % len(samples)]]):
            began = time.perf_counter()
            client.infer(way.model, given(client, way, sample))
            ended = time.perf_counter()
            if ended > stop:
                return found
            if began >= start:
                found.append(ended - began)
        return found

    with ThreadPoolExecutor(concurrency) as pool:
        times = [each for found in pool.map(loop, range(concurrency)) for each in found]
    return statistics.median(times) * 1e3, len(times) / seconds


def sent(client: Client, way: Way, samples: Sequence[Any]) -> int:
    """Return the mean bytes of the values of a request."""
    sizes = []
    for sample in samples:
        for value in given(client, way, sample).values():
            array = np.asarray(value) if not isinstance(value, (Path, str)) else None
            raw = value.read_bytes() if isinstance(value, Path) else str(value).encode()
            sizes.append(array.nbytes if array is not None else 4 + len(raw))
    return round(sum(sizes) / len(samples))


@contextmanager
def served(folder: Path, ways: Sequence[Way]) -> Iterator[Client]:
    """Serve the models of all ways, with their steps."""
    with running_server(folder / "models", progress=Progress()) as server, connect(server.grpc_url) as client:
        for way in ways:
            client.model(way.model)
        yield client


def measured(folder: Path, ways: Sequence[Way], samples: Sequence[Any], seconds: float) -> None:
    """Ask all ways in turn, and print a table."""
    with served(folder, ways) as client:
        found = {(way.title, number): Figures(sent(client, way, samples)) for way in ways for number in CONCURRENCIES}
        for _ in range(ROUNDS):
            for number in CONCURRENCIES:
                for way in ways:
                    latency, throughput = asked(client, way, samples, number, seconds)
                    found[way.title, number].latency.append(latency)
                    found[way.title, number].throughput.append(throughput)
    print("| prepared | concurrency | p50, ms | ratio | samples/s | ratio | kB sent |\n|---|---|---|---|---|---|---|")
    for number in CONCURRENCIES:
        first = found[ways[0].title, number]
        for way in ways:
            own = found[way.title, number]
            latency, throughput = statistics.median(own.latency), statistics.median(own.throughput)
            slower, more = _ratio(own.latency, first.latency), _ratio(own.throughput, first.throughput)
            cells = (way.title, number, f"{latency:.2f}", slower, f"{throughput:.1f}", more, f"{own.sent / 1e3:,.3g}")
            print(f"| {' | '.join(map(str, cells))} |")


def _ratio(own: Sequence[float], first: Sequence[float]) -> str:
    ratios = [one / other for one, other in zip(own, first, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    """Measure pictures, then texts."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine()}\n{ROUNDS} rounds of {seconds:g} s")
    for title, publish in (("A photograph of 500x375, ResNet-18", pictures), ("A text of 4 to 150 words, BERT", texts)):
        with tempfile.TemporaryDirectory(prefix="modelrepo-benchmark-") as name:
            ways, missing, samples = publish(Path(name))
            print(f"\n{title}\n")
            if len(ways) > 1:
                measured(Path(name), ways, samples, seconds)
            print(*missing, sep="\n")


if __name__ == "__main__":
    main()
