"""All architectures of keras.applications, built untrained at their own sizes and saved as a user would save them."""

from collections.abc import Callable
from functools import partial
from typing import Any

SEED = 0
# So deep that rounding decides their answers where batch norms begin with a mean of 0 and a deviation of 1:
# EfficientNetV2M's logits grow to 1e5 there, and an input changed by 1e-7 is answered as differently as another input.
STATISTICS = ("EfficientNetV2M", "EfficientNetV2L")
# Inputs whose statistics they have instead: as many, and with the largest deviation that verification asks.
COUNT, DEVIATION = 8, 10.0


def _build(name: str, **arguments: Any) -> Any:
    import keras

    keras.utils.set_random_seed(SEED)
    model = getattr(keras.applications, name)(weights=None, **arguments)
    if name in STATISTICS:
        _take_statistics(model)
    return model


def _take_statistics(model: Any) -> None:
    """Let each batch norm have the mean and deviation of what reaches it, as training leaves them; weights stay.

    What training leaves out at random would change them, so nothing is.
    """
    import keras
    import numpy as np

    kept = [
        (layer, name, getattr(layer, name))
        for kind, name in ((keras.layers.BatchNormalization, "momentum"), (keras.layers.Dropout, "rate"))
        for layer in model.layers
        if isinstance(layer, kind)
    ]
    for layer, name, _ in kept:
        setattr(layer, name, 0.0)
    inputs = np.random.default_rng(SEED).normal(0, DEVIATION, (COUNT, *model.input_shape[1:]))
    model(inputs.astype("float32"), training=True)
    for layer, name, value in kept:
        setattr(layer, name, value)


# Most have the size of their weights as their own; MobileNetV3 would otherwise take images of any size.
SIZES = {"MobileNetV3Large": (224, 224, 3), "MobileNetV3Small": (224, 224, 3)}
NAMES = (
    *("ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge"),
    *("DenseNet121", "DenseNet169", "DenseNet201"),
    *(f"EfficientNetB{number}" for number in range(8)),
    *(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")),
    *("InceptionResNetV2", "InceptionV3"),
    *("MobileNet", "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small"),
    *("NASNetLarge", "NASNetMobile"),
    *("ResNet50", "ResNet50V2", "ResNet101", "ResNet101V2", "ResNet152", "ResNet152V2"),
    *("VGG16", "VGG19", "Xception"),
)
# Each builds a Keras model, the same weights each time.
MODELS: dict[str, Callable[[], Any]] = {
    name: partial(_build, name, **({"input_shape": SIZES[name]} if name in SIZES else {})) for name in NAMES
}
