"""Looking inside networks that see images: what they look for, look at, and are fooled by.

Everything here takes a `network.Network`, images as floats in 0…1, and gives tensors or figures of matplotlib's.
"""
