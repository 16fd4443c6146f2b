"""What a SelfieRun file may say, and what is said to a person whose file may not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfie.errors import InvalidInput
from selfie.runs.load import dump_run, object_of, parse_run, run_from_object
from selfie.runs.locations import location_of, path_of
from selfie.runs.spec import SelfieRun
from selfie.runs.violations import InvalidRun

MINIMAL = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata:
  name: smallest
spec:
  model: {uri: hf://org/model}
  seed: {dataset: seed.jsonl}
  rounds:
  - prompts: {dataset: prompts.jsonl}
"""
FULL = """\
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {name: full, namespace: research, labels: {team: alignment}}
spec:
  model: {uri: hf://org/model, revision: v1.0, secretRef: {name: hub}}
  referenceModel: {uri: "s3://models/base"}
  randomSeed: 7
  seed: {dataset: "hf://datasets/org/pairs@main/train.parquet", heldout: heldout.jsonl, size: 2000}
  rounds:
  - {prompts: {dataset: prompts.jsonl, count: 8000}, lambda: "0.5"}
  - {prompts: {dataset: prompts.jsonl, from: 8000, count: 20000}, learningRate: "1e-6", epochs: 2}
  generation: {engine: tgi, samplesPerPrompt: 4, temperature: "0.7", topP: "0.95", maxNewTokens: 512}
  scoring: {judge: implicit, beta: "0.1", reference: initial, pairing: best_worst, lengthNormalization: mean}
  filter: {noisyPercent: 10, smoothing: "0.1", action: smooth, cut: dropBothCut, window: 256}
  training: {beta: "0.1", learningRate: "5e-7", batch: 32, lora: {rank: 16, alpha: 32}, threshold: quantile}
  evaluation:
    prompts: {dataset: prompts.jsonl, from: 60000, count: 512}
    evaluator: readingEase
    gates: {onBreach: fallBack, maxAccuracyDrop: "0.05", maxLengthRatio: "2", minFinishedShare: "0.5"}
  artifacts: {uri: "s3://bucket/runs", secretRef: {name: store}}
  resources: {training: {cpu: "16", memory: 128Gi}, engine: {cpu: 500m}}
  placement: {nodeSelector: {gpu: h100}, tolerations: [{key: gpu, operator: Exists}]}
  nodes: 2
  gpusPerNode: 8
  queue: research
  deadlines: {runSeconds: 86400, stageSeconds: 14400}
  retention: {checkpoints: 3}
"""


def violations_in(text):
    with pytest.raises(InvalidRun) as caught:
        parse_run(text)
    return caught.value.violations


def outcome_of(text):
    try:
        return parse_run(text)
    except InvalidRun as error:
        return error


def with_spec(*lines, without=()):
    kept = [line for line in MINIMAL.splitlines() if not any(word in line for word in without)]
    return "\n".join([*kept, *(f"  {line}" for line in lines)]) + "\n"


def test_the_smallest_run_is_nine_lines():
    assert parse_run(MINIMAL).metadata.name == "smallest"
    assert len(MINIMAL.strip().splitlines()) <= 9


def test_a_run_with_everything_in_it_fits_in_thirty_lines():
    assert len(FULL.splitlines()) < 30
    assert parse_run(FULL).spec.evaluation.gates.on_breach == "fallBack"


@pytest.mark.parametrize("text", [MINIMAL, FULL], ids=["minimal", "full"])
def test_what_is_written_reads_back_as_the_same_run(text):
    run = parse_run(text)
    assert parse_run(dump_run(run)) == run
    assert run_from_object(object_of(run)) == run


def test_defaults_are_the_papers():
    spec = parse_run(MINIMAL).spec
    assert (spec.seed.epochs, spec.seed.learning_rate) == (3, "5e-7")
    assert (spec.training.beta, spec.training.learning_rate) == ("0.1", "5e-7")
    assert (spec.training.epochs, spec.training.batch) == (1, 32)
    generation = spec.generation
    assert (generation.samples_per_prompt, generation.temperature, generation.top_p) == (2, "0.7", "1.0")
    assert (generation.max_new_tokens, generation.max_prompt_tokens) == (300, 1024)
    assert (spec.scoring.judge, spec.scoring.beta, spec.scoring.reference) == ("implicit", "0.1", "initial")
    assert (spec.scoring.pairing, spec.scoring.length_normalization) == ("best_worst", "sum")
    assert (spec.filter.noisy_percent, spec.filter.smoothing, spec.filter.warmup_percent) == (10, "0.1", 20)
    assert (spec.training.refinement, spec.training.threshold) == ("online", "quantile")
    assert (spec.training.initial_policy, spec.training.lora) == ("previous", None)
    assert (spec.micro_batch, spec.retries, spec.gpu) == (4, 3, "shared")
    assert (spec.suspend, spec.cancel) == (False, False)


@pytest.mark.parametrize(
    ("text", "field", "problem", "remedy"),
    [
        pytest.param(
            with_spec("scoring: {beta: 0.1}"),
            "spec.scoring.beta",
            "is the number 0.1, and text is wanted",
            'write it in quotes: "0.1"',
            id="a decimal without quotes is refused with the quotes to write",
        ),
        pytest.param(
            with_spec("training: {learningRate: 5e-7}"),
            "spec.training.learningRate",
            "is the number 5e-7, and text is wanted",
            'write it in quotes: "5e-7"',
            id="a number in exponent form is a number, as it is to a cluster",
        ),
        pytest.param(
            with_spec("scoring: {beta: 1}"),
            "spec.scoring.beta",
            "is the number 1, and text is wanted",
            'write it in quotes: "1"',
            id="a whole number is no decimal either",
        ),
        pytest.param(
            with_spec("scoring: {beta: '0'}"),
            "spec.scoring.beta",
            'is "0"',
            "write a decimal above 0 to 100",
            id="a beta of nothing would make every reward nothing",
        ),
        pytest.param(
            with_spec("training: {learningRate: fast}"),
            "spec.training.learningRate",
            'is "fast", which is no decimal',
            'write one such as "0.1" or "5e-7"',
            id="a word is no decimal",
        ),
        pytest.param(
            with_spec("filter: {noisyPercent: 10.5}"),
            "spec.filter.noisyPercent",
            "is 10.5, and a whole number is wanted",
            "write a whole number",
            id="a share in percent is a whole number",
        ),
        pytest.param(
            with_spec("filter: {noisyPercent: '10'}"),
            "spec.filter.noisyPercent",
            'is "10", and a whole number is wanted',
            "write a whole number without quotes",
            id="a whole number in quotes is text",
        ),
        pytest.param(
            with_spec("generation: {samplesPerPrompt: 1}"),
            "spec.generation.samplesPerPrompt",
            "is 1",
            "write 2 or more",
            id="one sample makes no pair",
        ),
        pytest.param(
            with_spec("generation: {temperature: '0'}"),
            "spec.generation.temperature",
            'is "0"',
            "write a decimal above 0 to 10",
            id="greedy samples are all the same and make no pair",
        ),
        pytest.param(
            with_spec("scoring: {judge: Implicit}"),
            "spec.scoring.judge",
            'cannot be "Implicit"',
            "did you mean implicit? The choices are implicit, longest, random",
            id="a choice is spelled exactly, and the nearest one is named",
        ),
        pytest.param(
            with_spec("scoring: {normalization: mean}"),
            "spec.scoring.normalization",
            "is not a field of a SelfieRun",
            "did you mean lengthNormalization?",
            id="an unknown field is refused with the nearest one beside it",
        ),
        pytest.param(
            with_spec("filter: {noisy_percent: 10}"),
            "spec.filter.noisy_percent",
            "is not a field of a SelfieRun",
            "did you mean noisyPercent?",
            id="a field is spelled as in a cluster, not as in Python",
        ),
        pytest.param(
            with_spec("noisyPercent: 10"),
            "spec.noisyPercent",
            "is not a field of a SelfieRun",
            "did you mean spec.filter.noisyPercent?",
            id="a field in the wrong place is told its right one",
        ),
        pytest.param(
            with_spec("suspend: 'yes'"),
            "spec.suspend",
            'is "yes", and true or false is wanted',
            "write true or false without quotes",
            id="a switch in quotes is text",
        ),
        pytest.param(
            with_spec("generation:"),
            "spec.generation",
            "is empty, and a mapping is wanted",
            "give it a value, or take the line out",
            id="a heading with nothing under it is refused",
        ),
        pytest.param(
            with_spec("rounds: []", without=["rounds", "- prompts"]),
            "spec.rounds",
            "has too few entries",
            "give at least 1",
            id="a run without a round is none",
        ),
        pytest.param(
            with_spec(without=["rounds", "- prompts"]),
            "spec.rounds",
            "is missing",
            "give it",
            id="what has no default must be given",
        ),
        pytest.param(
            MINIMAL.replace("dataset: seed.jsonl", "dataset: hf://org/pairs"),
            "spec.seed.dataset",
            "does not name a file of a data set",
            "write hf://datasets/ORG/NAME@REVISION/PATH",
            id="a data set on the hub is named down to its file",
        ),
        pytest.param(
            with_spec("artifacts: {uri: 's3://key:secret@bucket/runs'}"),
            "spec.artifacts.uri",
            "holds a password",
            "take it out, and name the Secret that holds it in secretRef",
            id="a password has no place in a resource that everybody reads",
        ),
        pytest.param(
            MINIMAL.replace("smallest", "Smallest"),
            "metadata.name",
            'is "Smallest"',
            "write lower-case letters, digits and -, beginning with a letter and not ending with -",
            id="a name is one that every child's name can begin with",
        ),
        pytest.param(
            MINIMAL.replace("smallest", "a" * 41),
            "metadata.name",
            f'is "{"a" * 41}"',
            "write at most 40 characters",
            id="a name leaves room for those of its children",
        ),
        pytest.param(
            MINIMAL.replace("v1alpha1", "v2"),
            "apiVersion",
            'cannot be "selfie.dev/v2"',
            "write selfie.dev/v1alpha1",
            id="another version is another resource",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place_and_remedy(text, field, problem, remedy):
    [violation] = violations_in(text)
    assert (violation.field, violation.problem, violation.remedy) == (field, problem, remedy)


def test_every_mistake_is_told_at_once_in_the_order_of_the_file():
    text = with_spec("scoring: {beta: 0.1, judge: best}", "filtre: {}", "retries: -1")
    found = violations_in(text)
    assert [(entry.line, entry.field) for entry in found] == [
        (11, "spec.scoring.beta"),
        (11, "spec.scoring.judge"),
        (12, "spec.filtre"),
        (13, "spec.retries"),
    ]


def test_the_error_is_an_invalid_input_that_lists_everything():
    with pytest.raises(InvalidInput, match="2 mistakes:") as caught:
        parse_run(with_spec("retries: -1", "nodes: 0"))
    assert caught.value.field == "spec.retries"
    assert "line 12: spec.nodes is 0; write 1 or more" in str(caught.value)


def test_a_bad_round_is_not_also_called_a_missing_one():
    [violation] = violations_in(
        with_spec(without=["- prompts"]) + "  - {prompts: {dataset: a}, lambda: 0.5}\n"
    )
    assert violation.field == "spec.rounds[0].lambda"


def test_of_another_kind_of_resource_only_the_kind_is_told():
    [violation] = violations_in("apiVersion: selfie.dev/v1alpha1\nkind: Deployment\nspec: {replicas: 1}\n")
    assert (violation.field, violation.remedy) == ("kind", "write SelfieRun")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "is empty", id="nothing"),
        pytest.param("---\n---\n", "is empty", id="documents with nothing in them"),
        pytest.param(MINIMAL + "---" + MINIMAL, "holds 2 documents", id="two documents"),
        pytest.param("- a\n- b\n", "is a list, and a mapping is wanted", id="a list"),
        pytest.param("a: [1", "is not YAML", id="an open bracket"),
        pytest.param("a: *nowhere", "is not YAML", id="an alias of nothing"),
        pytest.param("? [a]\n: 1", "has a list or a mapping for a key", id="a list as a key"),
        pytest.param("a: " + "[" * 1500, "is nested too deeply", id="a thousand brackets"),
        pytest.param("a: \x00", "is not YAML", id="a zero byte"),
        pytest.param("9" * 5000, "is a number of 5000 digits", id="an endless number"),
        pytest.param("#" + " " * 1_000_001, "is longer than 1000000 characters", id="an endless file"),
    ],
)
def test_a_file_that_is_no_single_document_is_refused(text, problem):
    [violation] = violations_in(text)
    assert violation.field == "the file"
    assert violation.problem.startswith(problem)


def test_a_key_that_stands_twice_is_named_with_both_lines():
    [violation] = violations_in("a: 1\nb:\n  c: 1\n  c: 2\n")
    assert (violation.line, violation.field) == (4, "b.c")
    assert violation.problem == "stands twice, first on line 3"


def test_an_empty_document_at_the_end_is_passed_over():
    assert parse_run(MINIMAL + "---\n") == parse_run(MINIMAL)


def test_a_run_as_a_cluster_shows_it_is_accepted():
    shown = object_of(parse_run(MINIMAL))
    shown["metadata"] |= {"uid": "1234", "resourceVersion": "5", "generation": 2, "managedFields": []}
    shown["status"] = {"conditions": []}
    assert run_from_object(shown) == parse_run(MINIMAL)


def test_an_object_with_mistakes_is_refused_like_a_file():
    broken = object_of(parse_run(MINIMAL))
    broken["spec"]["retries"] = "3"
    with pytest.raises(InvalidRun, match=r"spec\.retries"):
        run_from_object(broken)


@pytest.mark.parametrize("text", ["nodes: 0x10", "nodes: 1_0", "nodes: 1:30", "nodes: 010"])
def test_numbers_that_tools_read_differently_are_refused(text):
    [violation] = violations_in(with_spec(text))
    assert violation.problem.endswith("a whole number is wanted")


@given(st.lists(st.text() | st.integers(0, 99)).map(tuple))
def test_a_path_leads_back_to_its_place_whatever_the_keys_are(location):
    if "[key]" not in location:  # with which pydantic says that a key is wrong
        assert location_of(path_of(location)) == location


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200), st.integers(0, len(FULL)), st.integers(0, 40))
def test_whatever_a_file_holds_it_is_a_run_or_is_refused_with_its_mistakes(noise, start, length):
    for text in (noise, FULL[:start] + noise[:5] + FULL[start + length :]):
        found = outcome_of(text)
        told = found.violations if isinstance(found, InvalidRun) else ()
        assert all(entry.field and entry.problem and entry.remedy for entry in told)


def test_every_field_has_a_description_and_every_text_list_and_number_a_bound():
    schema = SelfieRun.model_json_schema(by_alias=True)
    loose = []
    for name, model in schema["$defs"].items():
        for field, entry in model["properties"].items():
            kinds = [entry, *entry.get("anyOf", [])]
            if "description" not in entry:
                loose.append(f"{name}.{field} has no description")
            for kind in kinds:
                bound = {
                    "string": ("maxLength", "enum", "const"),
                    "integer": ("maximum",),
                    "array": ("maxItems",),
                }
                wanted = bound.get(kind.get("type"), ())
                if wanted and not any(word in kind for word in wanted):
                    loose.append(f"{name}.{field} has no bound")
    assert loose == []
