"""All architectures of keras.applications, built untrained at their own sizes and saved as a user would save them."""

from collections.abc import Callable
from functools import partial
from typing import Any

SEED = 0


def _build(name: str, **arguments: Any) -> Any:
    import keras

    keras.utils.set_random_seed(SEED)
    return getattr(keras.applications, name)(weights=None, **arguments)


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
