"""The ranks that share one training: what they decide together, and what it means that one is gone.

Each rank takes its part of every step, and all of them wait for each other in it. So whatever one does
between steps, all must do; and one that ends leaves the others waiting for what never comes, which
they are told as an error of the network.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist

from selfie.artifacts.exits import Exit

T = TypeVar("T")


def ranks() -> int:
    """How many share the training; 1 for one that has it to itself."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this rank writes what is written once."""
    return ranks() == 1 or dist.get_rank() == 0


def agreed(*wishes: bool) -> tuple[bool, ...]:
    """For each of the wishes, whether any rank has it; all ranks ask at the same moment."""
    if ranks() == 1:
        return wishes
    device = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
    votes = torch.tensor([int(wish) for wish in wishes], device=device)
    dist.all_reduce(votes, op=dist.ReduceOp.MAX)
    return tuple(bool(vote) for vote in votes.tolist())


def told_by_main(value: T) -> T:
    """What the first rank has here, on every rank."""
    if ranks() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def meet() -> None:
    """Waits until every rank is here."""
    if ranks() > 1:
        dist.barrier()


@contextmanager
def peers_needed() -> Iterator[None]:
    """Ends the process as one whose peers are lost, where that is what an error comes from.

    No error is recorded: why it happened, the one that is gone may have said.
    """
    try:
        yield
    except RuntimeError as error:
        if not _comes_from_peers(error):
            raise
        print(f"a rank of this training is gone: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(Exit.PEERS_LOST)


def part(status: int) -> int:
    """The exit status of a rank that has done its part, once all have done theirs.

    Nobody leaves before the first rank has published: started again alone, it would wait for ever.
    """
    if ranks() == 1 or status != Exit.DONE:
        return status
    try:
        dist.barrier()
        dist.destroy_process_group()
    except RuntimeError as error:
        if not _comes_from_peers(error):
            raise
        # What the first rank has published stays, whoever else is gone.
        return Exit.DONE if is_main() else Exit.PEERS_LOST
    return status


def _comes_from_peers(error: RuntimeError) -> bool:
    # Gloo raises plain errors, which it signs with the path of its source.
    return ranks() > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error).lower())
