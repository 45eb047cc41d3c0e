"""Python-based backends: a folder each, with the ``model.py`` that Triton loads for models of that backend.

A backend runs in processes of its own, started by Triton with this interpreter. It accepts and refuses the same models
as the C++ backend of its name, so that no model passes here and fails in NVIDIA's container.
"""
