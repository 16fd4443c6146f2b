"""The rows of every data set: columns, types, and what each of them means.

The documentation of a column is in its field's metadata under ``doc``, so it travels inside the
Parquet files; `selfie.artifacts.dataset_docs` makes the table in `docs/dataset.md` of it.
Schemas build on each other: a sample is a prompt with a response, a scored row a sample with
numbers. Log-probabilities are natural logarithms (nats), sums over the response's tokens at
temperature 1. Digests are lower-case hexadecimal SHA-256.
"""

import pyarrow as pa

_TEXT = pa.string()
_NUMBER = pa.float64()
_COUNT = pa.int32()
_IDS = pa.list_(pa.int32())
_MESSAGES = pa.list_(pa.struct([("role", _TEXT), ("content", _TEXT)]))

_IDS_FROM = "`engine`: the ids that were sampled; `retokenized`: made again from the text."
_FINISH = "`stop`: ended by an end-of-turn token, its last id; `length`: cut by the limit, without one."


def _column(name: str, kind: pa.DataType, doc: str, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"doc": doc})


_PROVENANCE = (
    _column("policy_digest", _TEXT, "Digest of the policy's weights."),
    _column("reference_digest", _TEXT, "Digest of the judge's reference weights."),
    _column("tokenizer_digest", _TEXT, "Digest of the tokenizer."),
    _column("precision", _TEXT, "Precision mode of the scorer, for example `exact`."),
)

PROMPT_COLUMNS = (
    _column("prompt_id", _TEXT, "Names the prompt within the run."),
    _column("messages", _MESSAGES, "The chat that the prompt was rendered from."),
    _column("prompt_ids", _IDS, "Token ids by the policy's chat template, cut from the left once."),
    _column("prompt_digest", _TEXT, "Digest of `prompt_ids`, each as four bytes, little-endian."),
    _column("truncated", pa.bool_(), "Whether the prompt was longer than its limit and was cut."),
    _column("source", _TEXT, "Data set that the prompt comes from.", nullable=True),
)

PREFERENCE_COLUMNS = (
    _column("pair_id", _TEXT, "Names the pair within the run."),
    _column("chosen_text", _TEXT, "The response that a person preferred."),
    _column("chosen_ids", _IDS, "Its token ids, ended by the end-of-turn token."),
    _column("rejected_text", _TEXT, "The other response."),
    _column("rejected_ids", _IDS, "Its token ids, ended by the end-of-turn token."),
    _column("ids_from", _TEXT, _IDS_FROM),
)

SAMPLE_COLUMNS = (
    _column("sample_index", _COUNT, "Which of the prompt's samples this is, from 0."),
    _column("seed", pa.uint64(), "Random seed that the sample was drawn with."),
    _column("response_text", _TEXT, "The response, without its end-of-turn token."),
    _column("response_ids", _IDS, "Its token ids, with the end-of-turn token if it was sampled."),
    _column("ids_from", _TEXT, _IDS_FROM),
    _column("finish_reason", _TEXT, _FINISH),
    _column("policy_digest", _TEXT, "Digest of the weights that were sampled from."),
    _column("engine", _TEXT, "Engine that sampled, with its version."),
)

SCORED_COLUMNS = (
    _column("policy_logprob", _NUMBER, "Log-probability of the response by the policy."),
    _column("reference_logprob", _NUMBER, "Log-probability of the response by the judge's reference."),
    _column("extrapolated_logprob", _NUMBER, "Log-probability by the model extrapolated by `lambda`."),
    _column("lambda", _NUMBER, "Strength of the extrapolation beyond the policy; 0 is the policy itself."),
    _column("tokens", _COUNT, "Number of response tokens, the end-of-turn token included."),
    _column(
        "reward", _NUMBER, "Implicit reward, normalised as the run asks; what the judge `implicit` goes by."
    ),
    _column("reward_mean", _NUMBER, "Implicit reward per token, however the run normalises."),
    _column("error_bound", _NUMBER, "Largest error of either log-probability in this precision mode."),
    _column("divergence", _NUMBER, "KL(policy ‖ reference) per token, exact, in nats.", nullable=True),
    *_PROVENANCE[1:],
)

RATING_COLUMNS = (
    _column("prompt_id", _TEXT, "Names the prompt within the run."),
    _column("sample_index", _COUNT, "Which of the prompt's samples is rated."),
    _column(
        "rating",
        _NUMBER,
        "Log-odds of being preferred, at equal length, over a response that is rated 0; only differences "
        "between responses to one prompt mean anything. NaN for a response without tokens.",
    ),
    _column("evaluator_digest", _TEXT, "Digest of the evaluator's file."),
)


def _side(side: str, which: str) -> tuple[pa.Field, ...]:
    """Columns of one of a pair's two responses."""
    return (
        _column(f"{side}_text", _TEXT, f"The {which}, without end-of-turn token."),
        _column(f"{side}_ids", _IDS, "Its token ids, with the end-of-turn token if it has one."),
        _column(f"{side}_finish_reason", _TEXT, _FINISH),
        _column(f"{side}_index", _COUNT, "Its `sample_index`; -1 for a response that a person wrote."),
        _column(f"{side}_policy_logprob", _NUMBER, "Its log-probability by the policy."),
        _column(f"{side}_reference_logprob", _NUMBER, "Its log-probability by the judge's reference."),
        _column(f"{side}_extrapolated_logprob", _NUMBER, "Its log-probability by the extrapolated model."),
        _column(f"{side}_tokens", _COUNT, "Its number of tokens."),
        _column(f"{side}_reward", _NUMBER, "Its implicit reward, normalised as the run asks."),
    )


JUDGEMENT_COLUMNS = (
    _column("pair_id", _TEXT, "Names the pair within the run."),
    *_side("chosen", "response that the judge, or with human pairs the person, chose"),
    *_side("rejected", "other response"),
    _column("ids_from", _TEXT, _IDS_FROM),
    _column("judge", _TEXT, "Who judged: `implicit`, `longest`, `random`."),
    _column("pairing", _TEXT, "How the two were picked: `best_worst`, `best_random`, `random`, or `human`."),
    _column("beta", _NUMBER, "Scale of the rewards."),
    _column("lambda", _NUMBER, "Strength of the extrapolation beyond the policy."),
    _column("normalization", _TEXT, "`sum` or `mean` over the response's tokens: how rewards are judged."),
    _column(
        "margin",
        _NUMBER,
        "`chosen_reward` less `rejected_reward`; negative where people, or another judge, chose otherwise.",
    ),
    _column("margin_mean", _NUMBER, "The same of the implicit rewards per token."),
    _column("extrapolated_margin", _NUMBER, "`margin` with the extrapolated model in the policy's place."),
    _column("probability", _NUMBER, "σ(`margin`): probability that the chosen one is the better."),
    _column("extrapolated_probability", _NUMBER, "σ(`extrapolated_margin`)."),
    _column("confidence", _NUMBER, "2·|`probability` − ½|, from 0 to 1."),
    _column("extrapolated_confidence", _NUMBER, "2·|`extrapolated_probability` − ½|, from 0 to 1."),
    _column("tie_band", _NUMBER, "A `margin` smaller than this is within the scorer's error: a tie."),
    *_PROVENANCE,
)

FILTER_COLUMNS = (
    _column("kept", pa.bool_(), "Whether the pair is trained on.", nullable=True),
    _column("reason", _TEXT, "Why it is left out.", nullable=True),
    _column("noisy", pa.bool_(), "Whether its label is taken to be noisy.", nullable=True),
    _column("suspicions", pa.list_(_TEXT), "Why: `low-confidence`, `disagreement`, or both.", nullable=True),
    _column("threshold", _NUMBER, "Confidence below which a label is taken to be noisy.", nullable=True),
    _column("soft_label", _NUMBER, "Probability that the label is right, for training.", nullable=True),
)

PROMPT_SCHEMA = pa.schema(PROMPT_COLUMNS)
PREFERENCE_SCHEMA = pa.schema([*PROMPT_COLUMNS, *PREFERENCE_COLUMNS])
SAMPLE_SCHEMA = pa.schema([*PROMPT_COLUMNS, *SAMPLE_COLUMNS])
SCORED_SCHEMA = pa.schema([*SAMPLE_SCHEMA, *SCORED_COLUMNS])
RATING_SCHEMA = pa.schema(RATING_COLUMNS)
PAIR_SCHEMA = pa.schema([*PROMPT_COLUMNS, *JUDGEMENT_COLUMNS, *FILTER_COLUMNS])
