"""From a source model to a published model version; the only writer of a model repository."""
