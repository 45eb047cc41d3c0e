"""Python-based backends: a folder each, whose ``model.py`` Triton loads for models that name it as their backend.

A backend runs in processes of its own, started by Triton with this interpreter. It serves what the C++ backend of the
same name serves, and refuses what that one refuses, so that nothing passes here and fails in NVIDIA's container.
"""
