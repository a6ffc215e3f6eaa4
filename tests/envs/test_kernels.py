"""Compiled functions do not outlive the sources they were made from."""

from pathlib import Path

from envs.kernels import forget_old_kernels


def test_kernels_are_kept_until_a_source_changes(tmp_path: Path) -> None:
    source, kernel = tmp_path / "world.py", tmp_path / "__pycache__" / "world.step.nbi"
    source.write_text("speed = 1")
    kernel.parent.mkdir()
    kernel.touch()
    forget_old_kernels(tmp_path)
    assert not kernel.exists(), "nobody knows what it was made from"
    kernel.touch()
    forget_old_kernels(tmp_path)
    assert kernel.exists()
    source.write_text("speed = 2")
    forget_old_kernels(tmp_path)
    assert not kernel.exists()
    assert len(list(kernel.parent.iterdir())) == 1, "one stamp is enough"
