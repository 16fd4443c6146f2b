"""Between the filtering service's messages and its own types."""

from collections.abc import Mapping, Sequence

from selfie.filtering.rules import Candidate, CutPolicy, Label, NoiseAction, Rules, counts
from selfie.v1 import artifacts_pb2, filtering_pb2

_ACTIONS: Mapping[int, NoiseAction] = {
    filtering_pb2.NOISE_ACTION_SMOOTH: "smooth",
    filtering_pb2.NOISE_ACTION_DROP: "drop",
    filtering_pb2.NOISE_ACTION_KEEP: "keep",
}
_CUTS: Mapping[int, CutPolicy] = {
    filtering_pb2.CUT_POLICY_DROP_CUT_RESPONSES: "drop_cut_responses",
    filtering_pb2.CUT_POLICY_DROP_CUT_WINNERS: "drop_cut_winners",
    filtering_pb2.CUT_POLICY_DROP_BOTH_CUT: "drop_both_cut",
    filtering_pb2.CUT_POLICY_KEEP: "keep",
}


def rules_of(message: filtering_pb2.FilterRules) -> Rules:
    """The rules of a request."""
    return Rules(
        noisy_percent=message.noisy_percent,
        smoothing=message.smoothing,
        action=_ACTIONS[message.action],
        cut=_CUTS[message.cut],
        keep_ties=message.keep_ties,
        keep_duplicates=message.keep_duplicates,
    )


def candidate_of(message: filtering_pb2.CandidatePair) -> Candidate:
    """One pair of a request."""
    return Candidate(
        id=message.id,
        chosen_text=message.chosen_text,
        rejected_text=message.rejected_text,
        chosen_cut=message.chosen_finish == artifacts_pb2.FINISH_REASON_LENGTH,
        rejected_cut=message.rejected_finish == artifacts_pb2.FINISH_REASON_LENGTH,
        margin=message.margin,
        extrapolated_margin=message.extrapolated_margin,
        tie_band=message.tie_band,
        prompt_digest=message.prompt_digest,
    )


def filter_response(labels: Sequence[Label]) -> filtering_pb2.FilterResponse:
    """The labels on the wire."""
    return filtering_pb2.FilterResponse(
        pairs=[_label_message(label) for label in labels], counts=counts(labels)
    )


def _label_message(label: Label) -> filtering_pb2.LabelledPair:
    return filtering_pb2.LabelledPair(
        id=label.id,
        kept=label.kept,
        reason=label.reason,
        noisy=label.noisy,
        suspicions=label.suspicions,
        confidence=label.confidence,
        extrapolated_confidence=label.extrapolated_confidence,
        threshold=label.threshold,
        soft_label=label.soft_label,
    )
