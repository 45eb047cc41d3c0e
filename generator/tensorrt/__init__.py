"""TensorRT's tool chain: profiles, builders, plan files. It knows nothing of Triton's configuration."""
