"""The machine: files, downloads, processes and memory. Knows no models."""
