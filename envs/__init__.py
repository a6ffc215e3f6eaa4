"""The worlds, as Gymnasium environments."""
