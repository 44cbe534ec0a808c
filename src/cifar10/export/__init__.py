"""The trained network as an ONNX file, and how such a file is run; export depends on it, and `cifar10 classify`."""
