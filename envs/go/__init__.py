"""The game of Go: rules, environments and game records."""

from pathlib import Path

from envs.kernels import forget_old_kernels

forget_old_kernels(Path(__file__).parent)
