"""Score, Compare and Rank, on plain values: no messages, no transport, no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from selfie.models.chat import ChatTokenizer
from selfie.scoring.answers import Comparison, Ranking, ScoredResponse, compared, ranked, scored
from selfie.scoring.calibrations import Calibration
from selfie.scoring.precision import EXACT
from selfie.scoring.questions import Asked, Options, Prompt, Questions, Response
from selfie.scoring.rows import Engine, Wanted


@dataclass(frozen=True)
class Provenance:
    """What the numbers of a row rest on."""

    policy_digest: str
    reference_digest: str
    tokenizer_digest: str
    precision: str = EXACT


class Scorer:
    """The scoring service without its transport; what computes is used by one thread at a time."""

    def __init__(
        self, engine: Engine, tokenizer: ChatTokenizer, calibration: Calibration | None = None
    ) -> None:
        self.engine = engine
        self.calibration = calibration
        self.template_digest = tokenizer.template_digest
        self.provenance = Provenance(
            engine.policy_digest, engine.reference_digest, tokenizer.tokenizer_digest
        )
        self._questions = Questions(engine, tokenizer)

    def asked(self, prompt: Prompt, responses: Mapping[str, Response], options: Options) -> Asked:
        """The rows of responses by field; InvalidInput by field. Computes nothing, from any thread."""
        return self._questions.asked(prompt, responses, options.truncation)

    def slope(self, options: Options) -> float | None:
        """What calibrates margins of these options, if anything does."""
        return None if self.calibration is None else self.calibration.slope(options.rule)

    def score(self, prompt: Prompt, responses: Sequence[Response], options: Options) -> list[ScoredResponse]:
        """Log-probabilities and rewards in the order of the responses; InvalidInput by field."""
        return self._score(prompt, by_field(responses), options)

    def compare(self, prompt: Prompt, first: Response, second: Response, options: Options) -> Comparison:
        """Which of two responses the policy prefers over its reference, how surely."""
        one, other = self._score(prompt, {"first": first, "second": second}, options)
        return compared(one, other, options, self.slope(options))

    def rank(self, prompt: Prompt, responses: Sequence[Response], options: Options) -> Ranking:
        """The responses, best first."""
        return ranked(self.score(prompt, responses, options), options, self.slope(options))

    def _score(
        self, prompt: Prompt, responses: Mapping[str, Response], options: Options
    ) -> list[ScoredResponse]:
        asked = self.asked(prompt, responses, options)
        return scored(asked, self.engine.score(asked.rows, Wanted(lambdas=options.lambdas)), options)


def by_field(responses: Sequence[Response]) -> Mapping[str, Response]:
    """Responses of a request, by the name of their field."""
    return {f"responses[{index}]": response for index, response in enumerate(responses)}
