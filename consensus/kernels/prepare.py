"""Compiles all kernels at once, for processes that keep compiled code."""

from pathlib import Path

from consensus.kernels import eaglesong, golomb, merkle, mmr, outputs, strict


def load_kernels(directory: Path) -> None:
    """Have all kernels ready, with compiled code kept in `directory` between processes. Without this call each is
    compiled when it is first used, some 30 ms, and not kept.

    PermissionError unless the directory belongs to the user and has mode 0700: this process runs what it holds.
    """
    for kernel in (eaglesong.KERNEL, golomb.KERNEL, merkle.KERNEL, mmr.KERNEL, outputs.KERNEL, strict.KERNEL):
        kernel.load(directory)
