"""Does what `docs/scorer.md` says, block by block, with tiny weights on free ports."""

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs/scorer.md"
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
PORTS = ("50051", "8080", "9090")
WAIT_S = 90


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


class Reader:
    """Somebody who follows the page from top to bottom in an empty directory."""

    def __init__(self, directory: Path, policy: Path, reference: Path) -> None:
        self._directory = directory
        self._weights = iter((policy, reference) * 10)
        self._serving: subprocess.Popen[bytes] | None = None
        self._ports: dict[str, str] = {}

    def follow(self, kind: str, block: str) -> str:
        """Output of a block; a scorer that it starts goes on in the background."""
        if block.startswith("selfie serve"):
            self._serve(block)
            return ""
        for usual, port in self._ports.items():
            block = block.replace(f"localhost:{usual}", f"localhost:{port}")
        command = ["bash", "-euo", "pipefail", "-c", block] if kind == "sh" else [sys.executable, "-c", block]
        done = subprocess.run(
            command,
            check=False,
            cwd=self._directory,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def close(self) -> None:
        if self._serving is not None:
            self._serving.send_signal(signal.SIGTERM)
            assert self._serving.wait(WAIT_S) == 0
            self._serving = None

    def _serve(self, block: str) -> None:
        self.close()
        self._ports = {usual: free_port() for usual in PORTS}
        block = (
            re.sub(r"builtin://\S+", lambda _: str(next(self._weights)), block).replace("\\\n", " ").strip()
        )
        flags = zip(("--port", "--http-port", "--metrics-port"), self._ports.values(), strict=True)
        ports = " ".join(f"{flag} {port}" for flag, port in flags)
        with (self._directory / "scorer.log").open("wb") as log:
            self._serving = subprocess.Popen(
                ["bash", "-c", f"exec {block} {ports}"],
                cwd=self._directory,
                env=self._environment(),
                stderr=log,
            )
        self._wait_until_ready("https" if "--tls-key" in block else "http")

    def _wait_until_ready(self, scheme: str) -> None:
        deadline = time.monotonic() + WAIT_S
        url = f"{scheme}://localhost:{self._ports['8080']}/readyz"
        trusted = self._directory / "tls.crt"
        context = ssl.create_default_context(cafile=str(trusted)) if scheme == "https" else None
        while True:
            try:
                with urllib.request.urlopen(url, timeout=5, context=context):
                    return
            except OSError:
                assert self._serving is not None
                assert self._serving.poll() is None, (self._directory / "scorer.log").read_text()
                assert time.monotonic() < deadline, (self._directory / "scorer.log").read_text()
                time.sleep(0.1)

    @staticmethod
    def _environment() -> dict[str, str]:
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        packages = os.pathsep.join(entry for entry in sys.path if entry)
        return {**os.environ, "PATH": path, "PYTHONPATH": packages, "NO_PROXY": "localhost,127.0.0.1"}


@pytest.fixture
def reader(tmp_path: Path, perturbed_checkpoint: Path, tiny_checkpoint: Path) -> Iterator[Reader]:
    made = Reader(tmp_path, perturbed_checkpoint, tiny_checkpoint)
    yield made
    made.close()


def needs(block: str) -> set[str]:
    return {tool for tool in ("curl", "grpcurl", "openssl") if re.search(rf"^{tool} ", block, re.MULTILINE)}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_block_of_the_page_does_what_it_says(reader: Reader):
    missing = {tool for _, block in BLOCKS for tool in needs(block) if shutil.which(tool) is None}
    said = {block: reader.follow(kind, block) for kind, block in BLOCKS if not needs(block) & missing}
    quiet = [block for block in said if not said[block] and not re.match("selfie serve|mkdir", block)]
    assert not quiet
    if missing:
        pytest.skip(f"all but what needs {', '.join(sorted(missing))}, which is not installed")


def test_the_page_names_every_option_and_metric_that_there_is():
    from selfie.scoring import metrics
    from selfie.v1 import scoring_pb2

    text = PAGE.read_text()
    options = scoring_pb2.ScoringOptions.DESCRIPTOR.fields_by_name
    assert not [name for name in options if f"`{name}`" not in text]
    names = [each._name for each in vars(metrics).values() if hasattr(each, "_name")]
    assert len(names) >= 8
    assert not [name for name in names if name not in text]
