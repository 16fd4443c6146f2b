"""`selfie score` as people type it, by weights on this machine and by a scorer."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from selfie.artifacts.store import open_store
from selfie.cli.__main__ import app
from selfie.rpc.replicas import Replica
from selfie.rpc.server import RunningServer
from selfie.rpc.settings import ServerSettings
from selfie.scoring.core import Scorer
from selfie.scoring.servicer import scoring_service

ASKED = (
    "--prompt",
    "What is the capital of France?",
    "--response",
    "Paris.",
    "--response",
    "The [sea] is wide.",
)


def score(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(app, ["score", *arguments])


@pytest.fixture
def weights(perturbed_checkpoint: Path, tiny_checkpoint: Path) -> tuple[str, ...]:
    return ("--policy", str(perturbed_checkpoint), "--reference", tiny_checkpoint.as_uri())


@pytest.fixture
def address(scorer: Scorer, tmp_path: Path) -> Iterator[str]:
    """A scorer in a thread of its own that asks for the token ``secret``."""
    (tmp_path / "ada").write_text("secret")
    listening, ended = threading.Event(), threading.Event()
    found: list[str] = []

    async def serve() -> None:
        service = scoring_service(lambda: scorer, replica=Replica(owner="t", open_store=open_store))
        server = RunningServer(ServerSettings(drain_seconds=0, api_tokens=tmp_path), service)
        await server.start()
        found.append(f"127.0.0.1:{server.port}")
        listening.set()
        await asyncio.to_thread(ended.wait, 60)
        await server.stop()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert listening.wait(30)
    yield found[0]
    ended.set()
    thread.join(30)


def test_responses_are_ranked_in_a_table_that_says_what_it_rests_on(weights, scorer: Scorer):
    found = score(*weights, *ASKED, "--lambda", "0.5")
    assert found.exit_code == 0, found.output
    assert "The [sea] is wide." in found.output
    assert "λ=0.5" in found.output
    assert scorer.provenance.policy_digest[:12] in found.output
    assert "exact" in found.output


def test_json_is_the_answer_of_the_scorer_itself(weights, address: str, tmp_path: Path):
    here = score(*weights, *ASKED, "-o", "json", "--normalization", "mean")
    there = score(
        *("--address", address, "--token-file", str(tmp_path / "ada")),
        *ASKED,
        *("-o", "json", "--normalization", "mean"),
    )
    one, other = json.loads(here.stdout), json.loads(there.stdout)
    assert one["provenance"] == other["provenance"]
    for mine, theirs in zip(one["responses"], other["responses"], strict=True):
        assert (mine["index"], mine["rank"]) == (theirs["index"], theirs["rank"])
        assert mine["score"]["reward"] == pytest.approx(theirs["score"]["reward"], abs=1e-4)


def test_a_chat_comes_from_a_file(weights, tmp_path: Path):
    file = tmp_path / "chat.json"
    file.write_text(json.dumps([{"role": "user", "content": "Hi"}]))
    found = score(*weights, "--messages", str(file), "--response", "Hello", "-o", "json")
    assert json.loads(found.stdout)["responses"][0]["rank"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--policy: and --reference are not both given"),
        (("--policy", "x"), "--reference are not both given"),
        (("--policy", "/nowhere", "--reference", "/nowhere"), "--policy: /nowhere is not a directory"),
        (("--address", "x", "--policy", "y"), "--address: is given beside weights"),
        (("--beta", "-1"), "options.beta"),
        (("--normalization", "median"), "use one of sum, mean"),
        (("--messages", "chat.json"), "--prompt: and --messages"),
        (("-o", "yaml"), "--output: 'yaml' is unknown"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(arguments: tuple[str, ...], said: str):
    found = score(*ASKED, *arguments)
    assert found.exit_code == 2
    assert said in " ".join(found.output.split())


def test_a_scorer_that_refuses_says_why(address: str):
    found = score("--address", address, *ASKED)
    assert found.exit_code == 1
    assert "no token was shown" in found.output
