"""A classifier that trains in seconds, and its labelled images: outlines in noise, at any place, size and angle.

An untrained network names the same class for every image, so its loss in a lower precision proves little.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 32
Values = NDArray[Any]
# With longer training, or less noise, it would be right almost always, and no accuracy could be lost.
TRAINED_ON, EPOCHS, BATCH, NOISE = 6000, 8, 50, 0.1


def _disc(x: Values, y: Values) -> Values:
    return np.asarray(np.hypot(x, y) < 1)


def _square(x: Values, y: Values) -> Values:
    return np.asarray(np.maximum(abs(x), abs(y)) < 0.85)


def _triangle(x: Values, y: Values) -> Values:
    return np.asarray((y > -0.7) & (abs(x) * 1.7 < 1 - y))


def _cross(x: Values, y: Values) -> Values:
    return np.asarray((np.minimum(abs(x), abs(y)) < 0.3) & (np.maximum(abs(x), abs(y)) < 1))


def _star(x: Values, y: Values) -> Values:
    return np.asarray(np.hypot(x, y) < 0.65 + 0.35 * np.cos(5 * np.arctan2(y, x)))


def _bar(x: Values, y: Values) -> Values:
    return np.asarray((abs(x) < 1.1) & (abs(y) < 0.4))


SHAPES = (_disc, _square, _triangle, _cross, _star, _bar)


def images(count: int, seed: int) -> tuple[Values, Values]:
    """Return images, float32 (count, 3, 32, 32), and the class of each, int64: half are filled, half are outlines."""
    random = np.random.default_rng(seed)
    classes = random.integers(0, len(SHAPES), count)
    grid = np.linspace(-1, 1, SIDE)
    pictures = np.empty((count, 3, SIDE, SIDE), "float32")
    for picture, which in zip(pictures, classes, strict=True):
        turn, size, (left, down) = random.uniform(-0.4, 0.4), random.uniform(0.45, 0.8), random.uniform(-0.2, 0.2, 2)
        x, y = np.meshgrid((grid - left) / size, (grid - down) / size)
        turned = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
        drawn = SHAPES[which](*turned).astype("float32")
        if random.random() < 0.5:
            drawn -= SHAPES[which](turned[0] / 0.65, turned[1] / 0.65)
        colour, ground = random.uniform(0.2, 1, (3, 1, 1)), random.uniform(0, 0.5, (3, 1, 1))
        picture[:] = ground + (colour - ground) * np.clip(drawn, 0, 1) + random.normal(0, NOISE, picture.shape)
    return pictures, classes.astype("int64")


def write_classifier(path: Path, seed: int = 0) -> None:
    """Train a small convolutional network with the same seed each time, and write it as ONNX, batches of any size."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    torch.set_num_threads(1)  # more threads don't speed up layers as small as these

    def layer(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    widths = ((3, 24, 2), (24, 48, 2), (48, 96, 2))
    network = nn.Sequential(
        *(part for width in widths for part in layer(*width)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(96, len(SHAPES)),
    )
    pictures, classes = (torch.from_numpy(array) for array in images(TRAINED_ON, seed + 1))
    steps = EPOCHS * (TRAINED_ON // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(TRAINED_ON)[: TRAINED_ON // BATCH * BATCH].split(BATCH):
            loss = nn.functional.cross_entropy(network(pictures[rows]), classes[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    torch.onnx.export(
        network.eval(),
        (pictures[:2],),
        str(path),
        input_names=["input"],
        output_names=["output"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
        external_data=False,
    )
