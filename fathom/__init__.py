"""Fathom: train, evaluate and watch agents, from the command line."""

__version__ = "0.1.0"
