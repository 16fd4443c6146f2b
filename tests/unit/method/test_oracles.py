"""The oracle of the quickstart's preference: what it counts, and the laws that make it no proxy of length."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfie.method.oracles import EVALUATORS, LOWEST_EASE, count_syllables, reading_ease

SHORT_WORDS = ("cat", "help", "walk", "home", "bread", "light", "strength")
LONG_WORDS = ("assistance", "additional", "approximately", "refrigeration", "considerable")
ANY_WORD = st.sampled_from(SHORT_WORDS + LONG_WORDS)
SENTENCE = st.lists(ANY_WORD, min_size=1, max_size=15).map(lambda words: " ".join(words) + ".")
TEXT = st.lists(SENTENCE, min_size=1, max_size=5).map(" ".join)


@pytest.mark.parametrize(
    ("syllables", "words"),
    [
        (1, "home whole the walked watched called bathed times rules clothes cried goes can't strength"),
        (2, "table tables handled wanted boxes places changes being movement basement didn't isn't cement"),
        (2, "drying seeing quiet science useful houses lately"),
        (3, "implement settlement completely created various continue agreement moistening"),
        (4, "material temperature situation radiation evaluate ability usually society's"),
        (5, "approximately refrigeration individual immediately opportunity"),
    ],
)
def test_syllables_of_common_words_are_counted_as_they_are_spoken(syllables: int, words: str) -> None:
    expected = dict.fromkeys(words.split(), syllables)
    assert {word: count_syllables(word) for word in expected} == expected


def test_accents_curly_apostrophes_and_capitals_do_not_change_a_count() -> None:
    assert count_syllables("COULDN’T") == count_syllables("couldn't") == 2
    assert count_syllables("Façades") == count_syllables("facades")


@given(st.text(alphabet=st.characters(categories=["L"]), min_size=1, max_size=20))
def test_every_word_of_any_script_has_at_least_one_syllable(word: str) -> None:
    assert count_syllables(word) >= 1


def test_reading_ease_is_fleschs_formula() -> None:
    # 13 words, 2 sentences, 16 syllables, counted by hand.
    text = "The water runs off the roof. It carries the soil down the hillside."
    assert reading_ease(text) == pytest.approx(206.835 - 1.015 * 13 / 2 - 84.6 * 16 / 13)


def test_plain_words_are_easier_than_latinate_ones_that_say_the_same() -> None:
    plain = "Get help at once if you can't move it. Most people get well fast."
    formal = "Obtain immediate assistance if it is immovable. The majority of individuals recover rapidly."
    assert reading_ease(plain) - reading_ease(formal) > 40


@pytest.mark.parametrize("text", ["", "  \n", "42", "1. 2.5 %", "!?"])
def test_text_without_words_has_no_ease(text: str) -> None:
    assert math.isnan(reading_ease(text))


@given(TEXT, st.integers(min_value=2, max_value=6))
def test_saying_a_text_several_times_does_not_change_its_ease(text: str, times: int) -> None:
    assert reading_ease(" ".join([text] * times)) == pytest.approx(reading_ease(text))


@given(TEXT)
def test_case_does_not_matter(text: str) -> None:
    assert reading_ease(text.upper()) == reading_ease(text) == reading_ease(text.title())


@given(TEXT)
def test_ease_stays_within_its_bounds(text: str) -> None:
    assert LOWEST_EASE <= reading_ease(text) <= 121.22 + 1e-9


@given(st.lists(ANY_WORD, min_size=1, max_size=12), st.sampled_from(SHORT_WORDS), st.data())
def test_a_short_word_for_a_long_one_never_makes_a_text_harder(
    words: list[str], short: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(words)))
    long = data.draw(st.sampled_from(LONG_WORDS))
    before = " ".join([*words[:place], long, *words[place:]]) + "."
    after = " ".join([*words[:place], short, *words[place:]]) + "."
    assert reading_ease(after) >= reading_ease(before)
    assert reading_ease(after) > reading_ease(before) or reading_ease(before) == LOWEST_EASE


@given(SENTENCE, SENTENCE)
def test_splitting_a_sentence_makes_it_easier(first: str, second: str) -> None:
    joined = first.removesuffix(".") + " " + second
    apart = first + " " + second
    assert reading_ease(apart) > reading_ease(joined) or reading_ease(joined) == LOWEST_EASE


def test_lines_of_a_list_are_sentences_and_its_numbers_are_none() -> None:
    assert reading_ease("1. bread\n2. milk") == reading_ease("Bread. Milk.")


def test_evaluators_are_found_by_the_name_a_run_gives_them() -> None:
    assert EVALUATORS["readingEase"] is reading_ease
