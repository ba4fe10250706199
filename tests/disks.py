"""A small file system for tests of a full disk; it takes root, and a kernel that lets root mount."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MS_REMOUNT = 32
MNT_DETACH = 2


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Callable[[str], None]]:
    """Mount a memory file system of that size (as mount's `size=`) at the folder; yields what makes it larger."""
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(size: str, flags: int = 0) -> None:
        if libc.mount(b"none", bytes(place), b"tmpfs", flags, f"size={size},mode=0711".encode()):
            pytest.skip(f"cannot mount a small disk here: {os.strerror(ctypes.get_errno())}")

    mount(size)
    try:
        yield lambda size: mount(size, MS_REMOUNT)
    finally:
        libc.umount2(bytes(place), MNT_DETACH)
