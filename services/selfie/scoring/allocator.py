"""Memory that was used once is kept for the next batch.

glibc gives every large temporary back to the kernel, which clears it page by page when it is asked for
again; on processors that costs as much as the arithmetic. Settings in the environment, which have to be there
before a process starts, are left as they are.
"""

import ctypes
import os

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_SETTINGS = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 << 20))


def keep_memory() -> bool:
    """Tells the allocator of this process to keep what is freed; False where it cannot be told."""
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(*setting) for setting in _SETTINGS)
