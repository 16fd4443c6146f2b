"""`helm test` on real pods, with the tiny model in place of the image's own."""

import pytest
import yaml

from charts import Refused
from installations import RELEASE, Installation
from killing import MODEL

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1500)]
SECONDS = 1200
SPEC = """
model: {{uri: {model}}}
seed:
  {{dataset: seed.jsonl, size: 8, epochs: 6, learningRate: "0.001", heldout: heldout.jsonl, heldoutSize: 4}}
rounds: [{{prompts: {{dataset: prompts.jsonl, count: 8}}}}]
generation: {{samplesPerPrompt: 2, maxNewTokens: 24, maxPromptTokens: 128}}
filter: {{cut: keep}}
training: {{batch: 2, learningRate: "0.001"}}
evaluation: {{prompts: {{dataset: prompts.jsonl, from: 8, count: 2}}}}
"""


def test_helm_test_takes_a_small_run_through_every_step_and_asks_the_scorer(
    release_on_volume: Installation,
) -> None:
    release = release_on_volume
    release.install(trial={"seconds": SECONDS, "spec": yaml.safe_load(SPEC.format(model=MODEL))})
    _tried(release)
    assert release.found("sfr")["items"] == []
    assert not [pod for pod in release.found("pods")["items"] if pod["metadata"]["name"].endswith("-trial")]

    # Its artifacts have stayed, and a scorer answers with them.
    [run] = {
        path.split("/")[1]
        for path in release.place.store.list(release.namespace)
        if f"/{RELEASE}-trial-" in path
    }
    weights = {"run": f"{release.place.uri}/{release.namespace}/{run}"}
    release.install(
        scorer=release.values["scorer"] | {"weights": weights, "callers": [f"{release.namespace}/nobody"]}
    )
    assert "the scorer answers: p = " in _tried(release)


def _tried(release: Installation) -> str:
    """Succeeds, or tells why not; what the pod said, as far as it was read while it was there."""
    said: list[str] = []
    asked = ("test", RELEASE, f"-n={release.namespace}", f"--timeout={SECONDS}s", "--logs")
    try:
        said.append(release.helm.run(*asked, seconds=SECONDS + 60))
    except Refused as error:
        pytest.fail(f"{error}\n{release.kubectl('logs', f'pod/{RELEASE}-trial')}")
    assert "Phase:          Succeeded" in said[0]
    return said[0]
