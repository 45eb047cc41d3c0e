"""Turn a source model into a Triton model repository that is already proven.

Programs import ``modelrepo.clients`` and ``modelrepo.generator.lint``; the other packages are what the commands are
made of. In a checkout they are links to the folders of the same name at the top, in an installed package they are
folders; docs/decisions says why.
"""

from pathlib import Path

# Where all of this lies.
HOME = Path(__file__).parent
