"""TensorRT's tool chain: profiles, builders, plan files. No Triton in it."""
