"""Real inputs: photographs, written digits, sounds and texts, as each model's own package prepares them."""

import inspect
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from modelrepo.generator.specs.tensors import Array

# Where tests.real_models.packages unpacks the pictures.
PICTURES = "skimage/data"
NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "retina.jpg", "coins.png")
PAGES = ("page.png", "text.png", "clock_motion.png")
# Of Python's own library: modules whose documentation strings are read.
DOCUMENTED = ("argparse", "decimal", "statistics", "random", "pathlib", "threading", "logging", "shutil", "subprocess")
WORDS = [
    "Order",
    "Invoice",
    "Total",
    "Monday",
    "Triton",
    "model",
    "server",
    "answer",
    "batch",
    "quick",
    "brown",
    "jumps",
    "over",
    "lazy",
    "signal",
    "paper",
]
A4 = 440.0


@cache
def pictures(folder: Path) -> tuple[Image.Image, ...]:
    """Return photographs in RGB: those of scikit-learn and of scikit-image."""
    from sklearn.datasets import load_sample_images

    own = [Image.fromarray(each) for each in load_sample_images().images]
    return (*own, *(Image.open(folder / PICTURES / name).convert("RGB") for name in NAMES))


def crops(folder: Path, count: int, height: int, width: int) -> Array:
    """Return parts of photographs, uint8 [count, height, width, 3]: of all of them in turn, of several sizes."""
    found = pictures(folder)
    random = np.random.default_rng(0)
    made = []
    for number in range(count):
        picture = found[number % len(found)]
        share = random.uniform(0.4, 1.0)
        size = (int(picture.width * share), int(picture.height * share))
        left, top = (int(random.uniform(0, whole - part + 1)) for whole, part in zip(picture.size, size, strict=True))
        made.append(np.asarray(picture.crop((left, top, left + size[0], top + size[1])).resize((width, height))))
    return np.stack(made)


def faces(folder: Path, size: int) -> tuple[Array, Array]:
    """Return pictures, uint8 [200, size, size, 3], and which show a face, bool [200]: scikit-image's part of LFW."""
    gray = np.load(folder / PICTURES / "lfw_subset.npy")
    small = [Image.fromarray((each * 255).astype(np.uint8)).convert("RGB") for each in gray]
    border = size // 4  # detectors look for a face with something around it
    made = np.zeros((len(small), size, size, 3), np.uint8)
    for place, each in enumerate(small):
        made[place] = np.asarray(each).mean(axis=(0, 1)).astype(np.uint8)
        inner = np.asarray(each.resize((size - 2 * border,) * 2, Image.Resampling.BICUBIC))
        made[place, border : size - border, border : size - border] = inner
    return made, np.arange(len(small)) < len(small) // 2


def planes(images: Array) -> Array:
    """Return images [n, height, width, channels] as [n, channels, height, width]."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def written(text: str, height: int, width: int) -> Array:
    """Return a line of printed text, uint8 [height, width, 3]: dark on light, cut or filled to the width."""
    image = Image.new("RGB", (width, height), (235, 232, 225))
    font = ImageFont.load_default(height * 0.62)
    ImageDraw.Draw(image).text((height * 0.2, height * 0.12), text, (30, 30, 45), font)
    return np.asarray(image)


def words(count: int) -> list[str]:
    """Return pairs of words, and numbers."""
    random = np.random.default_rng(1)
    return [f"{random.choice(WORDS)} {random.choice(WORDS)} {random.integers(10, 999)}" for _ in range(count)]


def page_of(size: int, seed: int) -> Array:
    """Return a page of printed text, uint8 [size, size, 3]."""
    lines = [written(" ".join(words(40)[seed + row :][:3]), size // 10, size) for row in range(10)]
    image = np.full((size, size, 3), 232, np.uint8)
    image[: len(lines) * (size // 10)] = np.concatenate(lines)
    return image


def digits(count: int, length: int, height: int) -> tuple[list[Array], list[str]]:
    """Return lines of handwritten digits, uint8 [height, width], dark on light, and what they say."""
    from sklearn.datasets import load_digits

    data = load_digits()
    random = np.random.default_rng(2)
    images, labels = [], []
    for _ in range(count):
        chosen = random.integers(0, len(data.images), length)
        line = np.concatenate([np.pad(data.images[each], ((2, 2), (1, 1))) for each in chosen], axis=1)
        gray = Image.fromarray((255 - line * 15).astype(np.uint8))
        images.append(np.asarray(gray.resize((gray.width * height // gray.height, height), Image.Resampling.BICUBIC)))
        labels.append("".join(str(data.target[each]) for each in chosen))
    return images, labels


def chords(count: int, length: int, rate: int) -> tuple[Array, Array]:
    """Return notes and chords, float32 [count, length] in -1..1, and the number of the lowest note of each.

    Each has overtones, a soft start, a decay and some noise. Note 69 is 440 Hz.
    """
    random = np.random.default_rng(3)
    time = np.arange(length) / rate
    sounds, notes = [], []
    for number in range(count):
        lowest = int(random.integers(48, 72))
        sound = 0.003 * random.standard_normal(length)
        for step in ((0,), (0, 4, 7), (0, 3, 7))[number % 3]:
            frequency = A4 * 2 ** ((lowest + step - 69) / 12)
            tone = sum(np.sin(2 * np.pi * frequency * part * time) / part**1.5 for part in range(1, 6))
            sound = sound + tone * np.minimum(time / 0.02, 1) * np.exp(-time * random.uniform(0.5, 2))
        sounds.append(0.8 * sound / np.abs(sound).max())
        notes.append(lowest)
    return np.stack(sounds).astype(np.float32), np.array(notes)


def speech(count: int, length: int, rate: int) -> Array:
    """Return sounds like speech, float32 [count, length]: a voice through the resonances of vowels, with pauses."""
    from scipy.signal import lfilter  # type: ignore[import-untyped]

    random = np.random.default_rng(4)
    vowels = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
    made = []
    for _ in range(count):
        parts, done = [], 0
        while done < length:
            size = int(rate * random.uniform(0.08, 0.3))
            pitch = random.uniform(90, 220) * np.linspace(1, random.uniform(0.85, 1.15), size)
            sound = (np.diff(np.cumsum(pitch / rate) % 1, prepend=0) < -0.5).astype(float)
            sound += 0.01 * random.standard_normal(size)
            for formant in vowels[random.integers(len(vowels))]:
                radius = np.exp(-np.pi * 90 / rate)
                sound = lfilter([1 - radius], [1, -2 * radius * np.cos(2 * np.pi * formant / rate), radius**2], sound)
            parts.append(sound * np.hanning(size) * (random.random() > 0.2))  # one of five is a pause
            done += size
        whole = np.concatenate(parts)[:length]
        made.append(0.5 * whole / max(np.abs(whole).max(), 1e-3) + 1e-4 * random.standard_normal(length))
    return np.stack(made).astype(np.float32)


@cache
def texts() -> tuple[str, ...]:
    """Return documentation strings of Python's own library, in a fixed order."""
    found = []
    for name in DOCUMENTED:
        module = import_module(name)
        for _, each in sorted(vars(module).items()):
            if inspect.isclass(each) or inspect.isfunction(each):
                text = " ".join((inspect.getdoc(each) or "").split())
                if len(text) > 60:
                    found.append(text)
    return tuple(dict.fromkeys(found))


def files() -> Iterator[tuple[str, bytes]]:
    """Yield files of this Python and its packages whose kind is known, by the kind and what is in them."""
    kinds = {".py": "python", ".json": "json", ".html": "html", ".css": "css", ".js": "javascript", ".png": "png"}
    kinds |= {
        ".so": "elf",
        ".h": "c",
        ".svg": "svg",
        ".jpg": "jpeg",
        ".pyc": "pythonbytecode",
        ".npz": "npz",
        ".ttf": "ttf",
    }
    for package in ("sklearn", "matplotlib", "numpy", "torch", "PIL", "jinja2", "onnx"):
        try:
            home = Path(str(import_module(package).__file__)).parent
        except ImportError:
            continue
        for suffix, kind in kinds.items():
            for path in sorted(home.rglob(f"*{suffix}"))[:6]:
                content = path.read_bytes()
                if len(content) > 400:
                    yield kind, content


def spread(values: Sequence[str], count: int) -> list[str]:
    """Return ``count`` of the values, evenly spaced."""
    return [values[place] for place in np.linspace(0, len(values) - 1, count).astype(int).tolist()]
