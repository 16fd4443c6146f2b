"""The page says what the run published, no more, and needs nothing beside it."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from selfie.method.subsets import in_gate_half
from selfie.report.gather import gather
from selfie.report.page import write_report
from selfie.runs.conditions import Condition
from selfie.runs.status import BestRound, RunStatus

EASY = "The cat sat on the mat. It was warm."
HARD = "Institutional considerations necessitate comprehensive organizational deliberation."
PNG = b"\x89PNG\r\n\x1a\n"
SCRIPT = "<script>alert('x')</script> & \"quotes\""


class Page(HTMLParser):
    """Text, table rows and references of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.references: list[str] = []
        self.tags: list[str] = []
        self.rows: dict[str, list[str]] = {}
        self.lists: list[list[str]] = []
        self._cells: list[str] = []
        self._cell: str | None = None
        self._skips = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag == "tr":
            self._cells = []
        if tag in ("td", "th"):
            self._cell = ""
        self._skips = tag == "small" or (self._skips and tag != "td")

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self._cell is not None:
            self._cells.append(self._cell.strip())
            self._cell = None
        if tag == "small":
            self._skips = False
        if tag == "tr" and self._cells:
            self.rows.setdefault(self._cells[0], self._cells[1:])
            self.lists.append(self._cells)

    def handle_data(self, data):
        if self._cell is not None and not self._skips:
            self._cell += data


@pytest.fixture
def render(tmp_path: Path):
    def make(toy, run, status: RunStatus | None = None) -> Page:
        path = write_report(gather(toy.store, run, status or RunStatus()), tmp_path / "report")
        return Page(path.read_text(encoding="utf-8"))

    return make


def test_the_cells_hold_the_numbers_that_were_published(toy, run_of, render):
    rows = render(toy.whole(), run_of()).rows
    assert rows["accuracy, summed judge"] == ["50.0 % [15.0, 85.0]", "75.0 % [30.1, 95.4]"]
    assert rows["accuracy, length-normalised"] == ["43.8 % [25.0, 62.5]"] * 2
    assert rows["chance"] == ["50.0 %", "50.0 %"]
    assert rows["prefer the longer"] == ["59.0 %", "59.0 %"]
    assert rows["π_init's own likelihood, per token"] == ["61.0 %", "61.0 %"]
    assert rows["finished share"] == ["87.5 %", "87.5 %"]
    assert rows["mean length"] == ["21.5", "33.5"]
    assert rows["divergence from π_init"] == ["0.0123", "0.0123"]


def test_a_run_that_is_judged_per_token_shows_the_summed_judge_too(toy, run_of, render):
    # 0.3 a token over 2 tokens is less than 0.2 a token over 8.
    toy.heldout(
        0, [0.1, 0.1], normalization="mean", chosen_reward=0.3, rejected_reward=0.2, rejected_tokens=8
    )
    rows = render(toy, run_of(normalization="mean")).rows
    assert rows["accuracy, summed judge"][0].startswith("0.0 %")
    assert rows["accuracy, length-normalised"][0].startswith("43.8 %")


def test_the_round_tells_what_became_of_its_pairs(toy, run_of, render):
    rows = render(toy.whole(), run_of()).rows
    assert rows["responses drawn"] == ["8"]
    assert rows["pairs judged"] == ["4"]
    assert rows["ties · identical · unfinished"] == ["3 · 2 · 1"]
    assert rows["margins: 10 % · median · 90 %"] == ["0.011 · 0.222 · 0.333"]
    assert rows["largest error of a log-probability"] == ["0.00077"]
    assert rows["mean confidence"] == ["0.456"]
    assert rows["pairs trained on"] == ["3"]
    assert rows["left out"] == ["cut winner 1"]
    assert rows["suspected by the filter"] == ["1"]
    assert rows["taken to be noisy in training"] == ["2 pairs; window 16, warm-up 2 of 9 steps"]
    assert rows["training loss, first → last"] == ["0.700 → 0.654"]
    assert rows["training accuracy"] == ["80.0 %"]
    assert rows["scorer against trainer"] == ["0.00042"]


def test_a_round_is_held_against_the_seed_on_the_same_pairs(toy, run_of, render):
    told = render(toy.whole(), run_of()).rows["against the seed, summed"]
    assert told[0] == "–"
    assert told[1].startswith("+25.0 [")
    assert told[1].endswith("1 : 0, p 1.00")


def test_the_details_have_each_part_of_the_pairs_in_both_readings(toy, run_of, render):
    toy.heldout(0, [1.0, -1.0, 1.0, -1.0], rejected_tokens=8)
    toy.heldout(1, [1.0] * 4, rejected_tokens=8)
    page = render(toy, run_of())
    assert page.rows["chosen is the shorter"] == ["50.0 % [15, 85] of 4", "100.0 % [51, 100] of 4"]
    # No two lengths are within 15 % of each other.
    assert "length-matched" not in page.rows
    assert page.rows["against the seed, after Holm"] == ["–", "p 1.00"]
    assert page.rows["log-loss"] == ["0.813", "0.313"]
    assert page.rows["log-loss against the seed"][1].startswith("-0.500 [")
    assert page.rows["against a coin"][1] == "+50.0 [+50.0, +50.0], 4 : 0, p 0.12"
    assert page.html.count("The judge in detail, ") == 2


def test_what_was_taken_over_says_so_and_took_no_time(toy, run_of, render):
    toy.add("rounds/00/seed", origin="s3://others/run")
    toy.add("rounds/00/publish")
    page = render(toy, run_of())
    assert ["0", "seed", "taken over from s3://others/run"] in page.lists
    assert ["0", "publish", "30.0"] in page.lists
    assert "steps took 0.5 minutes" in page.html


def test_every_published_figure_is_on_the_page(toy, run_of, render):
    rows = render(toy.whole(), run_of()).rows
    assert rows["train · parity_max_error"] == ["–", "0.00042"]
    assert rows["score · ties"] == ["–", "3"]


def test_responses_win_against_the_seeds_and_the_initial_models(toy, run_of, render):
    toy.responses(0, [HARD] * 10)
    toy.responses(1, [EASY] * 5 + [HARD] * 5)
    toy.initial([EASY] * 10)
    rows = render(toy, run_of()).rows
    assert rows["wins against the seed"] == ["–", "75.0 % [44, 92] of 10"]
    assert rows["wins against π_init"] == ["0.0 % [0, 28] of 10", "25.0 % [8, 56] of 10"]
    raw, controlled = (rows[f"{kind}wins against the seed"][1] for kind in ("", "length-controlled "))
    assert controlled.startswith(raw)
    assert "all lengths are equal" in controlled
    assert "every comparison was lost" in rows["length-controlled wins against π_init"][0]


def test_labels_are_held_against_the_evaluator(toy, run_of, render):
    rows = render(toy.whole(), run_of()).rows
    # Of the three kept pairs one is rated alike on both sides, and the noisy one is wrong.
    assert rows["self-made labels right"] == ["50.0 % [9, 91] of 2"]
    assert rows["wrong among suspected"] == ["100.0 % [21, 100] of 1"]
    assert rows["wrong among the others"] == ["0.0 % [0, 79] of 1"]
    assert rows["wrong among z = 1"] == ["100.0 % [21, 100] of 1"]
    assert rows["wrong among z = 0"] == ["0.0 % [0, 79] of 1"]


def test_what_the_model_wrote_is_text_and_never_markup(toy, run_of, pair_of, render):
    toy.pairs("rounds/01/filter", [pair_of("a", chosen_text=SCRIPT)], counts={"kept": 1})
    page = render(toy, run_of())
    assert "script" not in page.tags
    assert "&lt;script&gt;alert" in page.html


def test_a_prompt_is_text_and_never_markup(toy, run_of, pair_of, render):
    messages = [{"role": "user", "content": "<img src=x onerror=alert(1)>"}]
    toy.pairs("rounds/01/filter", [pair_of("a", messages=messages)], counts={"kept": 1})
    assert "x" not in render(toy, run_of()).references


def test_the_page_refers_to_nothing_outside_of_itself(toy, run_of, render):
    page = render(toy.whole(), run_of())
    assert page.references
    assert all(reference.startswith("data:image/png;base64,") for reference in page.references)
    assert not {"script", "link", "iframe", "base"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?://", page.html)


def test_every_plot_is_also_a_png_file_beside_the_page(toy, run_of, tmp_path):
    page = write_report(gather(toy.whole().store, run_of(), RunStatus()), tmp_path / "report")
    plots = sorted(page.parent.glob("*.png"))
    assert [plot.stem for plot in plots] == ["accuracy", "behaviour", "divergence", "margins", "quality"]
    assert all(plot.read_bytes().startswith(PNG) for plot in plots)


def test_the_same_run_gives_the_same_page_and_the_same_pictures(toy, run_of, tmp_path):
    facts = gather(toy.whole().store, run_of(), RunStatus())
    first, second = (write_report(facts, tmp_path / name) for name in ("one", "two"))
    for file in first.parent.iterdir():
        assert file.read_bytes() == (second.parent / file.name).read_bytes()


def test_a_run_that_has_published_nothing_still_has_a_page(toy, run_of, render):
    page = render(toy, run_of())
    assert "Nothing has been measured yet." in page.html
    assert "img" not in page.tags


def test_a_run_that_was_stopped_in_its_seed_shows_what_there_is(toy, run_of, render):
    toy.add("prepare", counts={"seed": 8})
    toy.add("rounds/00/seed", measures={"loss_first": 0.7, "loss_last": 0.6})
    page = render(toy, run_of())
    assert "chance" not in page.rows
    assert page.rows["0"] == ["seed", "30.0"]


@pytest.mark.parametrize("last", ["rounds/01/generate", "rounds/01/score"])
def test_a_run_that_was_stopped_in_a_round_shows_the_seed_and_the_rounds_steps(toy, run_of, render, last):
    toy.heldout(0, [1.0, -1.0])
    toy.responses(0, ["A cat sat."])
    toy.add(last, counts={"samples": 8, "pairs": 4})
    rows = render(toy, run_of()).rows
    assert rows["accuracy, summed judge"] == ["50.0 % [9.5, 90.5]", "–"]
    assert "against the seed, summed" not in rows


def test_state_message_and_best_round_are_those_of_the_status(toy, run_of, render):
    status = RunStatus(
        conditions=(
            Condition(
                type="Succeeded",
                status="False",
                reason="RetriesExhausted",
                message="the disk is <full>",
                last_transition_time="2026-03-01T12:00:00Z",
            ),
        ),
        best=BestRound(round=0, step="rounds/00/publish", digest="d", accuracy=0.5),
    )
    html = render(toy, run_of(), status).html
    assert "RetriesExhausted" in html
    assert "the disk is &lt;full&gt;" in html
    assert "best round: <b>seed</b>" in html


def test_the_best_rounds_headline_is_of_the_pairs_that_did_not_choose_it(toy, run_of, render):
    names = [f"h{index}" for index in range(40)]
    toy.heldout(0, [1.0 if in_gate_half(name) else -1.0 for name in names])
    status = RunStatus(best=BestRound(round=0, step="rounds/00/publish", digest="d", accuracy=1.0))
    n = sum(not in_gate_half(name) for name in names)
    html = render(toy, run_of(), status).html
    assert f"best round: <b>seed</b>, 0.0 % [0, 15] of {n} held-out pairs that did not choose it" in html
