"""Container images of one layer, written as OCI archives without any daemon or registry."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_TYPE: Final = "application/vnd.oci.image"


@dataclass
class RootFilesystem:
    """What an image holds, by path: files of this machine, text, links and empty directories."""

    files: dict[str, Path] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)

    def layer(self) -> bytes:
        """As a tar archive, the same bytes for the same content."""
        written = io.BytesIO()
        with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for directory in self._directories():
                archive.addfile(_entry(directory, tarfile.DIRTYPE, 0o755))
            for path, source in sorted(self.files.items()):
                content = source.read_bytes()
                archive.addfile(_entry(path, tarfile.REGTYPE, 0o755, len(content)), io.BytesIO(content))
            for path, text in sorted(self.texts.items()):
                content = text.encode()
                archive.addfile(_entry(path, tarfile.REGTYPE, 0o644, len(content)), io.BytesIO(content))
            for path, target in sorted(self.links.items()):
                link = _entry(path, tarfile.SYMTYPE, 0o777)
                link.linkname = target
                archive.addfile(link)
        return written.getvalue()

    def _directories(self) -> list[str]:
        found = {str(PurePosixPath(path)) for path in self.directories}
        for path in (*self.files, *self.texts, *self.links, *self.directories):
            found |= {str(parent) for parent in PurePosixPath(path).parents}
        return sorted(found - {"/", "."})


@dataclass(frozen=True)
class ImageConfiguration:
    """What a container of the image starts with."""

    entrypoint: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def write_archive(
    file: Path, name: str, filesystem: RootFilesystem, configuration: ImageConfiguration
) -> Path:
    """Writes the image so that an import knows it as ``name``, for instance ``localhost/selfie:thin``."""
    blobs: dict[str, bytes] = {}

    def keep(kind: str, content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": f"{_TYPE}.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    layer = keep("layer.v1.tar", filesystem.layer())
    config = keep("config.v1+json", _encoded(_config(layer["digest"], configuration)))
    manifest = keep(
        "manifest.v1+json",
        _encoded(
            {
                "schemaVersion": 2,
                "mediaType": f"{_TYPE}.manifest.v1+json",
                "config": config,
                "layers": [layer],
            }
        ),
    )
    manifest["annotations"] = {"org.opencontainers.image.ref.name": name}
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, "oci-layout", _encoded({"imageLayoutVersion": "1.0.0"}))
        _add(archive, "index.json", _encoded({"schemaVersion": 2, "manifests": [manifest]}))
        for digest, content in blobs.items():
            _add(archive, f"blobs/sha256/{digest}", content)
    return file


def _config(layer: str, configuration: ImageConfiguration) -> dict[str, Any]:
    return {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {
            "Entrypoint": list(configuration.entrypoint),
            "Env": [f"{key}={value}" for key, value in configuration.environment.items()],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    }


def _encoded(content: object) -> bytes:
    return json.dumps(content, sort_keys=True).encode()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_entry(name, tarfile.REGTYPE, 0o644, len(content)), io.BytesIO(content))


def _entry(path: str, kind: bytes, mode: int, size: int = 0) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.type, entry.mode, entry.size = kind, mode, size
    return entry
