"""``python -m selfie.training.trainer.ranks``: one node's processes of a training that several share.

What torchrun does, by the same library and without its command line, which makes a 1 of every exit
status: what went wrong could not be told from whose fault it was.
"""

import argparse
import sys
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from torch.distributed import DistError
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from selfie.artifacts.exits import Exit

_MEET_WITHIN_S = 900
_END_WITHIN_S = 50


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the ranks of this node; returns the exit status of the first that went wrong."""
    parser = argparse.ArgumentParser(description="The processes of one node of a shared training.")
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--node", type=int, required=True, help="which of them this is, from 0")
    parser.add_argument("--ranks", type=int, required=True, help="processes on each of them")
    parser.add_argument("--main", required=True, metavar="HOST:PORT", help="where node 0 is found")
    parser.add_argument("--module", required=True, help="the program")
    options, told = parser.parse_known_args(arguments)
    with TemporaryDirectory(prefix="selfie-ranks-") as logs:
        return _launch(options, told, logs)


def _launch(options: argparse.Namespace, told: Sequence[str], logs: str) -> int:
    config = LaunchConfig(
        min_nodes=options.nodes,
        max_nodes=options.nodes,
        nproc_per_node=options.ranks,
        run_id="selfie",
        rdzv_backend="static",
        rdzv_endpoint=options.main,
        rdzv_configs={"rank": options.node, "timeout": _MEET_WITHIN_S},
        # Whoever watches the pod starts all of them again, from their checkpoint.
        max_restarts=0,
        shutdown_timeout=_END_WITHIN_S,
        logs_specs=DefaultLogsSpecs(log_dir=logs),
    )
    try:
        elastic_launch(config, sys.executable)("-m", options.module, *told)
    except ChildFailedError as error:
        status = error.get_first_failure()[1].exitcode
        return status if status >= 0 else 128 - status
    except SignalException as error:
        return 128 + error.sigval
    except (DistError, RendezvousError) as error:
        print(f"the nodes did not come together: {error}", file=sys.stderr)  # noqa: T201
        return Exit.PEERS_LOST
    return Exit.DONE


if __name__ == "__main__":
    sys.exit(main())
