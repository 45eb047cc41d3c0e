"""The machine: files, downloads, processes, memory, templates. It knows no models."""
