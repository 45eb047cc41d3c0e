"""Quantizes an ONNX model to FP8. A script for the environment of nvidia-modelopt, where modelrepo is not installed.

Arguments: the model, a .npz of its inputs with a leading axis of samples, where to write the result, and the names of
the nodes to leave alone.
"""

import re
import sys

import numpy as np
from modelopt.onnx.quantization import quantize


def main(model: str, data: str, outcome: str, *kept: str) -> None:
    """Write the quantized model, with weights in FP8; errors are exceptions, which end with the reason."""
    with np.load(data) as arrays:
        quantize(
            model,
            quantize_mode="fp8",
            calibration_data=dict(arrays),
            calibration_method="max",
            calibration_eps=["cpu"],
            nodes_to_exclude=[f"{re.escape(name)}$" for name in kept],
            high_precision_dtype="fp32",
            dq_only=True,
            # It would leave out products of one row, and every batch is one while it looks.
            enable_gemv_detection_for_trt=False,
            output_path=outcome,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
