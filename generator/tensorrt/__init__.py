"""TensorRT's tool chain: profiles, builders, plan files. There is no Triton in it."""
