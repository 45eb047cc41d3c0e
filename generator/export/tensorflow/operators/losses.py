"""Cross entropy: tf2onnx takes the logarithm of a softmax, which is infinite where scores lie far apart.

No issue known. TensorFlow computes the logarithm of a sum of exponents, as ONNX's LogSoftmax does.
"""

from modelrepo.generator.export.tensorflow.operators.site import Site


def of_classes(site: Site) -> None:
    """Write SparseSoftmaxCrossEntropyWithLogits, whose labels are numbers of classes."""
    scores, labels = site.inputs
    if site.graph.find_output_consumers(site.outputs[1]):
        raise ValueError("its gradient is used")
    shares = site.node("LogSoftmax", scores, axis=-1)
    places = site.node("Unsqueeze", site.cast(labels, "INT64"), site.whole(-1))
    chosen = site.node("GatherElements", shares, places, axis=1)
    site.answer(site.node("Neg", site.node("Squeeze", chosen, site.whole(-1))), shares)
