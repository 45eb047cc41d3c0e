"""`make real-models`: models with trained weights, from packages of the package registry."""
