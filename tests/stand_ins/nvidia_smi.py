"""A stand-in for nvidia-smi: GPUs with the compute capabilities that STAND_IN_GPU lists, "none" for no GPU at all."""

import os
import sys

CAPABILITIES = os.environ.get("STAND_IN_GPU", "8.9").split(",")
if CAPABILITIES == ["none"]:
    sys.exit("No devices were found")
(query,) = [word.partition("=")[2] for word in sys.argv if word.startswith("--query-gpu=")]
for index, capability in enumerate(CAPABILITIES):
    fields = {
        "index": str(index),
        "name": "Stand-in GPU",
        "compute_cap": capability,
        "driver_version": "580.95.05",
        "uuid": f"GPU-{index}a1e-0000",
    }
    print(", ".join(fields[field] for field in query.split(",")))
