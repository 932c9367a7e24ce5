"""What the steps share about ONNX files: read and write, look at a graph, raise an opset, calibrate, insert Q/DQ."""
