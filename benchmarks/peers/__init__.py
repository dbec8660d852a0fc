"""The others: PyTorch's modules and plain loops, NumPy, JAX, ONNX Runtime, each at its best setting for the work."""
