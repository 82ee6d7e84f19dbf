"""Tensors in safetensors files: laid out in memory as on disk, written and read without a second copy."""
