"""What Triton reads, by release."""
