"""Images resized by weights of rows and columns, as TensorFlow computes them.

tf2onnx writes ResizeArea as the nearest pixel, and ResizeBicubic with another curve if pixels have no centres (no issue
known). It does not know ScaleAndTranslate, which antialiases. And ONNX Runtime makes no image
smaller by cubic weights.
"""

from typing import Any

from modelrepo.generator.export.tensorflow.operators.site import Site
from modelrepo.generator.sources.tensorflow import tensorflow

TITLES = {"ResizeArea": "area", "ResizeBicubic": "bicubic", "ScaleAndTranslate": "antialiased"}


def weighted(operator: str, site: Site) -> None:
    """Write a resized image as two products, with TensorFlow's own weights for the sizes.

    Raises ValueError if a size is not fixed.
    """
    shape, size = site.graph.get_shape(site.inputs[0]), site.known(1)
    if shape is None or size is None or min(shape[1:]) < 0:
        if operator == "ResizeBicubic" and site.attribute("half_pixel_centers", 0):
            site.answer(_cubic(site))
            return
        raise ValueError(f"{TITLES[operator]} resizing needs sizes that are fixed, such as with --input-shape")
    _, height, width, colours = shape
    rows, columns = (_weights(operator, site, axis, (height, width)[axis], size) for axis in (0, 1))
    given = site.cast(site.inputs[0], "FLOAT")
    flat = site.node("Reshape", given, site.whole(-1, height, width * colours))
    high = site.node("MatMul", site.constant(rows), flat)
    parts = site.node("Reshape", high, site.whole(-1, int(size[0]), width, colours))
    site.answer(site.node("MatMul", site.constant(columns), parts))


def _cubic(site: Site) -> str:
    """Write a larger image of any size by ONNX's cubic weights, which are TensorFlow's for pixels with centres."""
    image = site.node("Transpose", site.cast(site.inputs[0], "FLOAT"), perm=[0, 3, 1, 2])
    kept = site.node("Slice", site.node("Shape", image), site.whole(0), site.whole(2))
    sizes = site.node("Concat", kept, site.cast(site.inputs[1], "INT64"), axis=0)
    curve: dict[str, Any] = {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1}
    return site.node("Transpose", site.node("Resize", image, "", "", sizes, **curve), perm=[0, 2, 3, 1])


def _weights(operator: str, site: Site, axis: int, length: int, size: Any) -> Any:
    """Return the weights of an axis, [new size, old size] of float32: the answers to one bright row each."""
    import numpy as np
    from tensorflow.python.eager import context

    library = tensorflow()
    wanted = int(size[axis])
    images = np.eye(length, dtype=np.float32).reshape(length, length, 1, 1)
    raw = library.raw_ops
    with context.eager_mode(), library.device("/cpu:0"):
        if operator == "ScaleAndTranslate":
            scales, translations = _scales(site, size), site.known(3)
            if scales is None or translations is None:
                raise ValueError("its scale or translation is not constant")
            scale, translation = [scales[axis], 1], [translations[axis], 0]
            answer = raw.ScaleAndTranslate(
                images=images,
                size=[wanted, 1],
                scale=np.array(scale, np.float32),
                translation=np.array(translation, np.float32),
                kernel_type=_text(site.attribute("kernel_type", "lanczos3")),
                antialias=bool(site.attribute("antialias", 1)),
            )
        else:
            options = {"align_corners": bool(site.attribute("align_corners", 0))}
            if operator == "ResizeBicubic":
                options["half_pixel_centers"] = bool(site.attribute("half_pixel_centers", 0))
            answer = getattr(raw, operator)(images=images, size=[wanted, 1], **options)
        return np.ascontiguousarray(answer.numpy()[:, :, 0, 0].T)


def _scales(site: Site, size: Any) -> Any:
    """Return the scales of rows and columns: constant, or the new size by that of the image, as tf.image.resize has."""
    import numpy as np

    if (scales := site.known(2)) is not None:
        return scales
    node = site.graph.get_node_by_output(site.inputs[2])
    if node.type not in ("Div", "RealDiv") or not node.inputs[0].is_const():
        return None
    above, below = node.inputs[0].get_tensor_value(as_list=False), node.inputs[1]
    while below is not None and below.type in ("Cast", "Slice", "StridedSlice", "Squeeze", "Identity"):
        below = below.inputs[0]
    if below is None or below.type != "Shape" or below.input[0] != site.inputs[0] or not np.array_equal(above, size):
        return None
    return np.array(size, np.float32) / np.array(site.graph.get_shape(site.inputs[0])[1:3], np.float32)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
