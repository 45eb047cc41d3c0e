"""Starting, watching and stopping a Triton, local or in a container."""
