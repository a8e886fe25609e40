"""Networks as files that other programs run: ONNX, OpenVINO and torch.export, checked before they are there."""
