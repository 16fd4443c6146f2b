"""The process outside a node's namespaces: it makes what must be made there, and removes it.

The node's keeper is process 1 of a pid namespace. When it ends, the kernel kills all below it and
drops mounts and interfaces with their namespaces; cgroups and files are left to the warden.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cluster import cgroups
from cluster.layout import Plan

_NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--ipc")


def main(arguments: Sequence[str] | None = None) -> int:
    """Keeps the node that the plan in this directory describes."""
    parser = argparse.ArgumentParser(prog="python -m cluster.warden", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--owned", action="store_true", help="end when standard input is closed")
    chosen = parser.parse_args(arguments)
    plan = replace(Plan.read(chosen.directory), cgroup=cgroups.name_for(os.getpid()))
    plan.write()
    cgroups.sweep(cgroups.everywhere())
    try:
        cgroups.make(plan.cgroup, cgroups.hierarchies())
        return _keep(plan, owned=chosen.owned)
    except OSError as error:
        # Whoever waits for the keeper's word gets it from here.
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    finally:
        cgroups.remove(plan.cgroup, cgroups.everywhere())
        if plan.removes:
            shutil.rmtree(plan.directory, ignore_errors=True)


def _keep(plan: Plan, *, owned: bool) -> int:
    listener = socket.create_server(("127.0.0.1", plan.api_port))
    keeper = [sys.executable, "-m", "cluster.keeper", plan.directory, f"--listener={listener.fileno()}"]
    # The kernel kills unshare with this process, and unshare its child: nothing outlives a killed warden.
    inside = subprocess.Popen(
        [
            *("setpriv", "--pdeathsig", "KILL", "unshare", *_NAMESPACES, "--fork", "--kill-child"),
            *keeper,
            *(["--owned"] if owned else []),
        ],
        pass_fds=[listener.fileno()],
    )
    listener.close()
    # The keeper alone says how the start went; its reader must see the end of the pipe with its end.
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    signal.signal(signal.SIGTERM, lambda *_: inside.kill())
    return inside.wait()


if __name__ == "__main__":
    sys.exit(main())
