"""Score, Compare and Rank, on plain values: no messages, no transport, no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from selfie.models.chat import ChatTokenizer
from selfie.scoring.answers import Comparison, Ranking, ScoredResponse, compared, ranked, scored
from selfie.scoring.calibrations import Calibration
from selfie.scoring.precision import AUTO, EXACT, AnyMode, Mode
from selfie.scoring.questions import Asked, Options, Prompt, Questions, Response
from selfie.scoring.rows import Engine, RowScore, Wanted
from selfie.scoring.uncertain import Uncertain, uncertain


@dataclass(frozen=True)
class Provenance:
    """What the numbers of a row rest on."""

    policy_digest: str
    reference_digest: str
    tokenizer_digest: str
    precision: str = EXACT


class Scorer:
    """The scoring service without its transport; what computes is used by one thread at a time.

    ``precision`` is the mode of calls that ask for none; ``key`` tells it from scorers of other weights.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: ChatTokenizer,
        calibration: Calibration | None = None,
        *,
        precision: AnyMode = EXACT,
        key: str = "",
    ) -> None:
        self.engine = engine
        self.calibration = calibration
        self.precision = precision
        self.key = key
        self.template_digest = tokenizer.template_digest
        self.provenance = Provenance(
            engine.policy_digest, engine.reference_digest, tokenizer.tokenizer_digest
        )
        self._questions = Questions(engine, tokenizer)

    def asked(self, prompt: Prompt, responses: Mapping[str, Response], options: Options) -> Asked:
        """The rows of responses by field; InvalidInput by field. Computes nothing, from any thread."""
        return self._questions.asked(prompt, responses, options.truncation)

    def settled(self, options: Options) -> Options:
        """The options with what they leave to the scorer."""
        return replace(options, precision=options.precision or self.precision)

    def first_mode(self, asked: AnyMode) -> Mode:
        """The mode that is computed first. `auto` is `exact` where nothing faster could tell more or less."""
        if asked != AUTO:
            return asked
        same = self.provenance.policy_digest == self.provenance.reference_digest
        return EXACT if same or self.engine.arithmetic("fast").products == "float32" else "fast"

    def slope(self, options: Options) -> float | None:
        """What calibrates margins of these options, if anything does."""
        return None if self.calibration is None else self.calibration.slope(options.rule)

    def score(self, prompt: Prompt, responses: Sequence[Response], options: Options) -> list[ScoredResponse]:
        """Log-probabilities and rewards in the order of the responses; InvalidInput by field."""
        return self._score(prompt, by_field(responses), self.settled(options))[0]

    def compare(self, prompt: Prompt, first: Response, second: Response, options: Options) -> Comparison:
        """Which of two responses the policy prefers over its reference, how surely."""
        options = self.settled(options)
        (one, other), again = self._score(prompt, {"first": first, "second": second}, options)
        return compared(one, other, options, self.slope(options), rescored=again)

    def rank(self, prompt: Prompt, responses: Sequence[Response], options: Options) -> Ranking:
        """The responses, best first."""
        options = self.settled(options)
        found, again = self._score(prompt, by_field(responses), options)
        return ranked(found, options, self.slope(options), rescored=again)

    def _score(
        self, prompt: Prompt, responses: Mapping[str, Response], options: Options
    ) -> tuple[list[ScoredResponse], int]:
        """Scores, and the number of pairs that were scored again."""
        asked, wanted = self.asked(prompt, responses, options), wanted_first(self, options)
        scores = self.engine.score(asked.rows, wanted)
        unsure = unsure_of(scores, options)
        if unsure.responses:
            indices = sorted(unsure.responses)
            again = self.engine.score([asked.rows[index] for index in indices], exactly(wanted))
            scores = replaced(scores, dict(zip(indices, again, strict=True)))
        return scored(asked, scores, options), unsure.pairs


def wanted_first(scorer: Scorer, options: Options) -> Wanted:
    """What is computed first for settled options."""
    mode = scorer.first_mode(options.precision or EXACT)
    return Wanted(lambdas=options.lambdas, mode=mode, weights=scorer.key)


def exactly(wanted: Wanted) -> Wanted:
    """The same as `exact` has it."""
    return replace(wanted, mode=EXACT)


def unsure_of(scores: Sequence[RowScore], options: Options) -> Uncertain:
    """What of a call is to be computed again."""
    if options.precision != AUTO:
        return Uncertain()
    return uncertain(scores, options.rule, tie_margin=options.tie_margin)


def replaced(scores: Sequence[RowScore], better: Mapping[int, RowScore]) -> list[RowScore]:
    """The scores with some of them by better ones."""
    return [better.get(index, score) for index, score in enumerate(scores)]


def by_field(responses: Sequence[Response]) -> Mapping[str, Response]:
    """Responses of a request, by the name of their field."""
    return {f"responses[{index}]": response for index, response in enumerate(responses)}
