"""The Jinja templates, and the one environment that renders them."""

from pathlib import Path

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
TEMPLATE = "config.pbtxt.j2"
