"""Images that are written without a registry."""

import io
import json
import tarfile
from pathlib import Path

from cluster.images import ImageConfiguration, RootFilesystem, write_archive


def _filesystem(tmp_path: Path) -> RootFilesystem:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    return RootFilesystem(
        files={"/usr/bin/program": program}, links={"/bin": "usr/bin"}, texts={"/etc/hosts": "\n"}
    )


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    assert member
    return member.read()


def test_the_same_content_makes_the_same_bytes(tmp_path: Path) -> None:
    first, second = (
        write_archive(tmp_path / name, "localhost/x:1", _filesystem(tmp_path), ImageConfiguration())
        for name in ("first.tar", "second.tar")
    )
    assert first.read_bytes() == second.read_bytes()


def test_the_index_leads_to_the_layer_by_digests(tmp_path: Path) -> None:
    configuration = ImageConfiguration(("/usr/bin/program",), {"LANG": "C.UTF-8"})
    file = write_archive(tmp_path / "image.tar", "localhost/x:1", _filesystem(tmp_path), configuration)
    with tarfile.open(file) as archive:
        entry = json.loads(_read(archive, "index.json"))["manifests"][0]
        assert entry["annotations"]["org.opencontainers.image.ref.name"] == "localhost/x:1"
        manifest = json.loads(_read(archive, "blobs/sha256/" + entry["digest"].removeprefix("sha256:")))
        config = json.loads(
            _read(archive, "blobs/sha256/" + manifest["config"]["digest"].removeprefix("sha256:"))
        )
        layer = _read(archive, "blobs/sha256/" + manifest["layers"][0]["digest"].removeprefix("sha256:"))
    assert config["config"]["Entrypoint"] == ["/usr/bin/program"]
    assert config["config"]["Env"] == ["LANG=C.UTF-8"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as root:
        names = root.getnames()
    assert set(names) == {"usr", "usr/bin", "usr/bin/program", "bin", "etc", "etc/hosts"}
    # A directory that came after its files would be made anew, with other rights.
    assert names.index("usr/bin") < names.index("usr/bin/program")
