"""A stand-in for nvidia-smi: one GPU, whose compute capability STAND_IN_GPU may say; "none" for no GPU at all."""

import os
import sys

FIELDS = {
    "index": "0",
    "name": "Stand-in GPU",
    "compute_cap": os.environ.get("STAND_IN_GPU", "8.9"),
    "memory.total": "24576",
    "driver_version": "580.95.05",
}
if FIELDS["compute_cap"] == "none":
    sys.exit("No devices were found")
(query,) = [word.partition("=")[2] for word in sys.argv if word.startswith("--query-gpu=")]
print(", ".join(FIELDS[field] for field in query.split(",")))
