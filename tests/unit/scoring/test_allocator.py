"""Freed memory stays with the process, in one that is told so; each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import psutil
from selfie.scoring.allocator import keep_memory
told = keep_memory()
block = bytearray(64 << 20)
used = psutil.Process().memory_info().rss
del block
print(told, used - psutil.Process().memory_info().rss < 1 << 20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is told")
@pytest.mark.parametrize(
    ("settings", "expected"), [({}, "True True"), ({"MALLOC_ARENA_MAX": "4"}, "False False")]
)
def test_memory_is_kept_unless_the_environment_has_settings_of_its_own(settings, expected: str):
    own = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    services = Path(__file__).resolve().parents[3] / "services"
    environment = own | {"PYTHONPATH": str(services)} | settings
    command = [sys.executable, "-c", PROGRAM]
    told = subprocess.check_output(command, env=environment, text=True, timeout=60)
    assert told.split() == expected.split()
