"""Write the network as an ONNX file and run such a file, for the stage export and `cifar10 classify`."""
