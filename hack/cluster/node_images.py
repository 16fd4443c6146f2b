"""The images that every node starts with."""

from pathlib import Path

from cluster import pins
from cluster.binaries import provide
from cluster.images import ImageConfiguration, RootFilesystem, write_archive
from cluster.node import PAUSE_IMAGE
from cluster.thin import write_thin_image


def write_own_images(directory: Path) -> tuple[Path, ...]:
    """What holds pods, and the thin image of Selfie, as archives in this directory."""
    pause = provide([pins.PAUSE])["pause"]
    filesystem = RootFilesystem(files={"/pause": pause})
    return (
        write_archive(directory / "pause.tar", PAUSE_IMAGE, filesystem, ImageConfiguration(("/pause",))),
        write_thin_image(directory / "thin.tar"),
    )
