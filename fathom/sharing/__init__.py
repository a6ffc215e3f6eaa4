"""Runs as folders for others: an export with a card, a hub, and ONNX."""
