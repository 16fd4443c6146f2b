"""The test cluster on the command line: ``python -m cluster up --level node``."""

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster import binaries, control, nodes, pins, preconditions
from cluster.running import Cluster, find, start_detached
from selfie.errors import NotFound, SelfieError

_LEVELS = ("control-plane", "node")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 1 if it fails, with one line that says why."""
    chosen = _parser().parse_args(arguments)
    try:
        return int(chosen.run(chosen) or 0)
    except SelfieError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = _command(commands, "check", _check, "say what this machine lacks")
    check.add_argument("--packages", action="store_true", help="print missing Debian packages alone")
    build = _command(commands, "build", _build, "build what is not here yet")
    build.add_argument(
        "--with",
        dest="extras",
        action="append",
        default=[],
        choices=sorted(pins.EXTRAS),
        help="build this too",
    )
    up = _command(commands, "up", _up, "start a cluster, and print where its kubeconfig is")
    up.add_argument("--image", type=Path, action="append", default=[], help="archive to import; repeatable")
    for command in (check, build, up):
        command.add_argument("--level", choices=_LEVELS, default="control-plane")

    kubectl = _command(commands, "kubectl", _kubectl, "run kubectl against it")
    inside = _command(commands, "exec", _exec, "run a command in the node's namespaces")
    image = _command(commands, "import-image", _import, "give the node an OCI or Docker archive")
    image.add_argument("archive", type=Path)
    image.add_argument("--as", dest="image_name", help="name for the image instead of the archive's")
    component = _command(commands, "component", _component, "kill, start or stop the time of one component")
    component.add_argument("order", choices=("kill", "start", "restart", "pause", "resume"))
    component.add_argument("component")
    for command in (up, _command(commands, "down", _down, "end it"), kubectl, inside, image, component):
        command.add_argument("--name", default="default", help="which of several clusters")
    for command in (kubectl, inside):
        command.add_argument("rest", nargs=argparse.REMAINDER, metavar="-- ARGUMENTS")
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int | None],
    help_text: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help_text)
    parser.set_defaults(run=run)
    return parser


def _check(chosen: argparse.Namespace) -> int:
    if chosen.packages:
        print(" ".join(preconditions.missing_packages() if chosen.level == "node" else []))
        return 0
    lacking = preconditions.missing(chosen.level)
    print("\n".join(lacking) or "nothing is missing")
    return 1 if lacking else 0


def _build(chosen: argparse.Namespace) -> None:
    tools = (*pins.NODE, pins.PAUSE) if chosen.level == "node" else pins.CONTROL_PLANE
    found = binaries.provide([*tools, *(pins.EXTRAS[name] for name in chosen.extras)])
    for name, path in found.items():
        print(f"{name:24} {path}")


def _up(chosen: argparse.Namespace) -> None:
    cluster = start_detached(chosen.level, _directory(chosen.name), images=chosen.image)
    print(f"export KUBECONFIG={cluster.kubeconfig}")


def _down(chosen: argparse.Namespace) -> None:
    cluster = find(_directory(chosen.name))
    if cluster:
        cluster.stop()


def _kubectl(chosen: argparse.Namespace) -> int:
    cluster = _running(chosen.name)
    command = [cluster.plan.binaries["kubectl"], f"--kubeconfig={cluster.kubeconfig}"]
    return subprocess.run([*command, *_rest(chosen)], check=False).returncode


def _exec(chosen: argparse.Namespace) -> int:
    command = nodes.inside(_running(chosen.name), _rest(chosen))
    return subprocess.run(command, check=False).returncode


def _import(chosen: argparse.Namespace) -> None:
    nodes.import_image(_running(chosen.name), chosen.archive, name=chosen.image_name)


def _component(chosen: argparse.Namespace) -> None:
    control.ask(_running(chosen.name).layout.control, chosen.order, chosen.component)


def _rest(chosen: argparse.Namespace) -> list[str]:
    rest: list[str] = chosen.rest
    return rest[1:] if rest[:1] == ["--"] else rest


def _directory(name: str) -> Path:
    return binaries.cache_directory() / "running" / name


def _running(name: str) -> Cluster:
    cluster = find(_directory(name))
    if cluster is None:
        raise NotFound(f"no cluster {name} runs; start it by `python -m cluster up`")
    return cluster


if __name__ == "__main__":
    sys.exit(main())
