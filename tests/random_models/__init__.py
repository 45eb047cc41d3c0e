"""Random models through the product, asked beside their sources: `make random-models`."""
