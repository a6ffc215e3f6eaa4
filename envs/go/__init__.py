"""The game of Go: the rules, worlds to learn it in, and game records."""

from pathlib import Path

from envs.kernels import forget_old_kernels

forget_old_kernels(Path(__file__).parent)
