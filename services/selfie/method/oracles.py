"""Programs that know the preference of a made-up task, so that self-made labels can be checked.

Human preference has no oracle: on real data nobody can say which of the policy's own labels
are wrong. The quickstart's data expresses one preference, plain English, that a program can
measure; a report can then say how often the judge and the noise detector were right. Oracles
serve reports only: no label, threshold or loss reads them.

Every oracle maps a response text to a number, higher is better, and says NaN when the text
gives it nothing to measure. NaN means "leave this response out", never "bad".
"""

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType

__all__ = ["EVALUATORS", "LOWEST_EASE", "count_syllables", "reading_ease"]

LOWEST_EASE = -100.0

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?:\s+|$)|[\r\n]+")

_VOWELS = re.compile(r"[aeiouy]+")
_HIATUS = re.compile(
    r"(?<![tscgx])i(?=[aou])"  # material, various; not nation, special
    r"|(?<=[aeou])(?=ing$)|y(?=ing$)"  # seeing, drying
    r"|(?<=[dlnstv])u(?=[aou])"  # usual, individual
    r"|i(?=et)|(?<=sc)i(?=en)|(?<=cr)e(?=at[eio])"  # quiet, science, created
)
_SPOKEN_NT = re.compile(r"(?<=[dsn])n't$")
_SILENT_ENDINGS = tuple(
    re.compile(r"(?<=[aeiouy])(" + pattern)
    for pattern in (
        r"[^aeiouy]*(?:[^aeiouytdl]|th)|r?l+)ed$",
        r"[^aeiouy]*(?:[^aeiouyscxzghl]|[tp]h)|l)es$",
        r"[^aeiouy]*[^aeiouyl]|l)e$",
        r"[^aeiouy]*[^aeiouyl])e(?=(?:ly|ments?|ful|fully|less|ness)$)",
    )
)


def count_syllables(word: str) -> int:
    """Number of syllables of one English word by rule, at least 1.

    The rule, in order, on the lower-case letters without accents:

    1. a spoken "n't" ("didn't", "isn't") counts one; other apostrophes are dropped;
    2. a final e is silent after a vowel and consonants ("home", "whole"), but the "le" of
       "table" is spoken; so is the only e of "the";
    3. the e of a final "-ed" is silent unless t or d stands before it ("walked" 1, "wanted" 2),
       that of a final "-es" unless a hiss stands before it ("times" 1, "boxes" 2);
    4. an e before "-ly", "-ment", "-ful", "-less", "-ness" is silent ("movement" 2);
    5. what is left has one syllable for each run of the vowels a e i o u y, and one more where
       two vowels are spoken apart ("material", "various", "drying", "usual").

    It is wrong on some words ("something" 3, "area" 2, "fluid" 1), alike for every text.
    """
    text = unicodedata.normalize("NFKD", word.lower().replace("’", "'"))
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    spoken_nt = 1 if _SPOKEN_NT.search(text) else 0
    letters = _SPOKEN_NT.sub("", text).replace("'", "")
    apart = len(_HIATUS.findall(letters))
    for ending in _SILENT_ENDINGS:
        letters = ending.sub(r"\1", letters)
    return max(1, len(_VOWELS.findall(letters)) + apart + spoken_nt)


def reading_ease(text: str) -> float:
    """Flesch reading ease of a text: about 0 for a contract, 60 for a newspaper, 100 for a child's book.

    ``206.835 - 1.015 * words / sentences - 84.6 * syllables / words`` (R. Flesch, "A new
    readability yardstick", Journal of Applied Psychology 32, 1948), held within
    [-100, 121.22] so that one freak word does not rule a mean. Two ratios: a text said twice
    is as easy as said once, so the measure is no proxy of length.

    A word is a run of letters, with its apostrophes; figures and marks are no words. A sentence
    ends at ``. ! ? …`` before a space or the end, or at a line's end, and counts if it has a
    word. Text without words (empty, figures only) has no ease: NaN, for callers to leave out.
    """
    words = _WORD.findall(text)
    if not words:
        return math.nan
    sentences = sum(1 for part in _SENTENCE_END.split(text) if _WORD.search(part))
    syllables = sum(count_syllables(word) for word in words)
    ease = 206.835 - 1.015 * len(words) / sentences - 84.6 * syllables / len(words)
    return max(LOWEST_EASE, ease)


EVALUATORS: Mapping[str, Callable[[str], float]] = MappingProxyType({"readingEase": reading_ease})
"""Oracles by the name a SelfieRun gives them."""
