"""The comparison as people and programs get it: on the terminal, as JSON, as a page."""

import json
import re
from dataclasses import fields, is_dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from pydantic.alias_generators import to_camel
from typer.testing import CliRunner, Result

from selfie.artifacts.store import open_store
from selfie.cli.__main__ import app
from selfie.cli.comparing import parse_baseline
from selfie.compare import shape
from selfie.compare.comparing import compare_runs
from selfie.compare.page import render
from selfie.compare.shape import object_of
from selfie.compare.tables import tables_of

ROOT = Path(__file__).resolve().parents[4]
EASY = "The cat sat on the mat. It was warm."
HARD = "Institutional considerations necessitate deliberation."
GOOD, POOR = [1.0] * 40, [1.0] * 20 + [-1.0] * 20


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["compare", *arguments], env={"COLUMNS": "100"})


@pytest.fixture
def two(publish, spec_of, tmp_path: Path) -> list[str]:
    """Two published runs of unlike random seeds, and where they lie."""
    publish("poor", POOR, POOR, texts=[EASY] * 3)
    publish("good", GOOD, GOOD, texts=[EASY] * 3, run=spec_of("good", seed=2))
    return ["--artifacts", str(tmp_path / "runs")]


def test_runs_are_compared_by_name_with_the_first_ones_seed_as_the_baseline(two):
    result = invoke("poor", "good", *two)
    assert result.exit_code == 0, result.output
    assert "Against poor · seed, on the same pairs" in result.stdout
    rows = re.findall(r"good · seed +\+50\.0 .*", result.stdout)
    assert [row.split()[-1] for row in rows] == ["better"] * 2
    assert "spec.randomSeed" in result.stdout


def test_the_terminals_tables_are_no_wider_than_a_hundred_columns(two):
    result = invoke("poor", "good", *two, "--details")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    # Nothing is cut where it would not fit.
    assert "…" not in result.stdout
    for title in (
        "Accuracy on held-out pairs",
        "Calibration and behaviour",
        "Against judges that cost nothing",
    ):
        assert title in lines[[line.strip() for line in lines].index(title)]


def test_details_are_printed_on_demand(two):
    assert "Calibration and behaviour" not in invoke("poor", "good", *two).stdout
    assert "--details" in invoke("poor", "good", *two).stdout


def test_the_baseline_may_be_any_round_and_a_run_that_was_not_named(two):
    found = json.loads(invoke("good", *two, "--baseline", "poor:1", "-o", "json").stdout)
    assert found["baseline"] == {"run": "poor", "round": 1}
    assert {(each["run"], each["round"]) for each in found["contrasts"]} == {
        ("poor", 0),
        ("good", 0),
        ("good", 1),
    }


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("mine", ("mine", 0)),
        ("mine:2", ("mine", 2)),
        ("file:///runs/mine", ("file:///runs/mine", 0)),
        ("s3://bucket/mine:12", ("s3://bucket/mine", 12)),
        ("C:mine", ("C:mine", 0)),
        (":3", (":3", 0)),
    ],
)
def test_a_baseline_is_a_run_and_perhaps_a_round(text, parsed):
    assert parse_baseline(text) == parsed


def test_json_is_all_that_is_printed_and_says_what_the_tables_say(two):
    result = invoke("poor", "good", *two, "-o", "json")
    found = json.loads(result.stdout)
    assert found["schemaVersion"] == 1
    assert [run["name"] for run in found["runs"]] == ["poor", "good"]
    better = next(each for each in found["contrasts"] if each["run"] == "good")["parts"]["all"]
    assert better["accuracy"]["value"] == 0.5
    assert (better["mcnemar"]["firstOnly"], better["verdict"]) == (20, "better")
    assert found["rounds"][0]["readings"][0]["accuracy"]["all"]["n"] == 40
    assert (found["wins"][0]["wins"]["raw"]["value"], found["wins"][0]["wins"]["raw"]["n"]) == (0.5, 3)
    assert found["wins"][0]["wins"]["controlled"] is None


def test_the_labels_of_a_round_are_held_against_the_oracle_and_against_length(
    publish, toy_at, pair_of, tmp_path
):
    store = open_store(publish("one", POOR, POOR).as_uri())
    lengths = {"chosen_tokens": 9, "rejected_tokens": 4}
    rows = [
        pair_of("a", chosen_text=EASY, rejected_text=HARD, **lengths),
        pair_of("b", chosen_text=HARD, rejected_text=EASY, **lengths),
        pair_of("c", chosen_text=EASY, rejected_text=HARD, kept=False, **lengths),
    ]
    toy_at(store).pairs("rounds/01/filter", rows)
    found = json.loads(invoke("one", "--artifacts", str(tmp_path / "runs"), "-o", "json").stdout)
    [labels] = found["labels"]
    assert (labels["run"], labels["round"]) == ("one", 1)
    assert (labels["right"]["value"], labels["right"]["n"]) == (0.5, 2)
    assert (labels["longer"]["value"], labels["longer"]["n"]) == (1, 2)


def test_a_measure_that_is_no_number_is_null(publish, toy_at, tmp_path):
    store = open_store(publish("one", POOR).as_uri())
    toy_at(store).responses(0, [EASY], divergence=float("nan"))
    found = json.loads(invoke("one", "--artifacts", str(tmp_path / "runs"), "-o", "json").stdout)
    assert found["rounds"][0]["divergence"] is None
    assert found["rounds"][0]["meanTokens"] == 21.5


def records() -> list[type]:
    found = [value for value in vars(shape).values() if isinstance(value, type) and is_dataclass(value)]
    return sorted(found, key=lambda each: each.__name__)


@pytest.mark.parametrize("record", records(), ids=lambda record: record.__name__)
def test_every_name_of_the_json_is_documented(record):
    text = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")
    missing = [each.name for each in fields(record) if f"`{to_camel(each.name)}`" not in text]
    assert not missing


def test_the_json_has_the_documented_names_and_no_others(judged, rated):
    one = judged("one", POOR, GOOD, seed=1, responses={0: rated([EASY] * 9), 1: rated([EASY] * 9)})
    two = judged("two", POOR, GOOD, seed=2)
    names = {to_camel(each.name) for record in records() for each in fields(record)}
    # Keys of mappings: parts, rivals, and the runs of a differing field.
    names |= {"all", "report", "lengthMatched", "chosenShorter"}
    names |= {"chance", "longer", "referenceSum", "referenceMean", "one", "two"}

    def keys(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(keys, value.values()))
        return set().union(*map(keys, value)) if isinstance(value, list) else set()

    assert keys(object_of(compare_runs([one, two], one))) <= names


class Page(HTMLParser):
    """What a page refers to, and its tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.references: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]


def test_the_page_is_one_file_that_needs_nothing_beside_it(two, tmp_path):
    file = tmp_path / "pages" / "compared.html"
    result = invoke("poor", "good", *two, "--html", str(file))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == str(file)
    html = file.read_text(encoding="utf-8")
    page = Page(html)
    assert page.references
    assert all(each.startswith("data:image/png;base64,") for each in page.references)
    assert not {"script", "link", "iframe", "base"} & page.tags
    assert not re.search(r"url\(|@import|https?://", html)


def test_the_page_has_every_table_and_remark(judged, spec_of):
    other = judged("other", GOOD, run=spec_of("other", seed=2, scoring__judge="longest"))
    found = compare_runs([one := judged("one", POOR, POOR), other], one)
    html = render(found)
    for table in tables_of(found):
        assert table.title in html
    for remark in found.remarks:
        assert remark in html
    assert "longest (other)" in html


def test_a_name_is_text_and_never_markup(judged, spec_of):
    one = judged("<img src=x>", POOR, GOOD, run=spec_of("one"))
    assert "x" not in Page(render(compare_runs([one], one))).references


def test_a_table_of_many_rounds_has_no_plot(judged):
    one = judged("one", *[[1.0, -1.0]] * 26)
    assert "img" not in Page(render(compare_runs([one], one))).tags


def refused(result: Result, *parts: str) -> None:
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


def test_a_run_without_held_out_pairs_is_refused(publish, spec_of, tmp_path):
    publish("bare", run=spec_of("bare", seed__heldout=None, seed=1))
    refused(invoke("bare", "--artifacts", str(tmp_path / "runs")), "bare has no held-out pairs", "heldout")


def test_a_run_that_has_judged_nothing_yet_is_refused(publish, tmp_path):
    publish("young")
    refused(
        invoke("young", "--artifacts", str(tmp_path / "runs")), "young has not judged its held-out pairs yet"
    )


def test_a_run_that_is_named_twice_is_refused(two):
    refused(invoke("poor", "poor", *two), "poor is named twice")


def test_runs_of_one_name_are_told_apart_by_their_place(publish, tmp_path):
    places = [str(publish("same", POOR, folder=folder)) for folder in ("here", "there")]
    found = json.loads(invoke(*places, "-o", "json").stdout)
    assert [run["name"].rpartition("/")[0].rpartition("/")[2] for run in found["runs"]] == ["here", "there"]


def test_an_unknown_round_of_the_baseline_is_refused(two):
    refused(invoke("poor", *two, "--baseline", "poor:7"), "--baseline", "use a round that has: 0, 1")


def test_an_unknown_form_of_output_is_refused(two):
    refused(invoke("poor", *two, "-o", "xml"), "use text or json")


def test_a_run_that_does_not_exist_is_told_with_what_to_do(tmp_path):
    result = invoke("nothing", "--artifacts", str(tmp_path))
    assert result.exit_code == 1
    assert "`selfie run FILE` makes one" in result.stderr
