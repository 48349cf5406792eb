"""A wall clock that a test can move under a running process."""

import mmap
import os
import shutil
import struct
import subprocess
import time


def build_shim(folder):
    """Compiles the shim into `folder` and returns the library's path."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    assert compiler, "no C compiler: cc, gcc or clang"
    source = os.path.join(os.path.dirname(__file__), "clockshim.c")
    library = os.path.join(folder, "clockshim.so")
    subprocess.run(
        [compiler, "-Wall", "-Werror", "-O2", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60
    )
    return library


class ShiftedClock:
    """The environment of a process whose wall clock stands `seconds` from the real one, and the handle to move it."""

    def __init__(self, library, folder, seconds=0.0):
        self._library = library
        self._path = os.path.join(folder, "clock-shift")
        with open(self._path, "wb") as file:
            file.write(bytes(8))
        with open(self._path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8)
        self.seconds = 0.0
        self.set(seconds)

    def set(self, seconds):
        """Sets the distance from the real time; seen at once by a process that runs."""
        self.seconds = seconds
        self._map[0:8] = struct.pack("=q", round(seconds * 1e9))

    def step(self, seconds):
        """Moves the clock from where it stands."""
        self.set(self.seconds + seconds)

    def now(self):
        """What the process's clock shows, in seconds since the Unix epoch."""
        return time.time() + self.seconds

    @property
    def environment(self):
        return {"LD_PRELOAD": self._library, "CLOCK_SHIM_FILE": self._path}
