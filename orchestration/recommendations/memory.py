"""How much memory a stretch of work takes."""

import contextlib
import resource
from pathlib import Path

_MEGABYTE = 1 << 20
# Linux keeps the largest resident size of a process, and sets it back to the present one when 5 is written here.
_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class PeakMemory:
    """Gives the largest resident size of this process since it was last asked, in megabytes.

    Where the system cannot set the mark back, it is the largest since the process began.
    """

    def __call__(self) -> float:
        """Reads the mark and sets it back."""
        peak = self._mark()
        with contextlib.suppress(OSError):
            _RESET.write_text("5")
        return peak

    def _mark(self) -> float:
        try:
            lines = _STATUS.read_text().splitlines()
        except OSError:
            lines = []
        kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
        if kilobytes is None:
            kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return kilobytes * 1024 / _MEGABYTE
