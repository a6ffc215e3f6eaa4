"""Mazes, a new random one in every episode."""

from pathlib import Path

from envs.kernels import forget_old_kernels

forget_old_kernels(Path(__file__).parent)
