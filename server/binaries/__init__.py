"""NVIDIA's server on this machine: fetched, checked and unpacked."""
