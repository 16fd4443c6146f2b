"""All runs: how they stand, how far they are, what they cost, what failed."""

from boards import NAMESPACE, Board, Panel, Row

_OF = '{namespace=~"$namespace"}'
_RUN = "{{namespace}}/{{run}}"

BOARD = Board(
    name="runs",
    title="Selfie / Runs",
    explanation="All runs: stage, progress, what is left, failures. Ended runs are shown for 15 minutes.",
    variables=(NAMESPACE,),
    rows=(
        Row(
            "Now",
            (
                Panel(
                    "Runs by state",
                    "Runs that are active, or ended less than 15 minutes ago.",
                    ((f"count by (state) (selfie_run_info{_OF})", "{{state}}"),),
                    kind="number",
                    width=12,
                    height=5,
                ),
                Panel(
                    "Runs by reason",
                    "The reason of the condition Succeeded; see docs/troubleshooting.md.",
                    ((f"count by (reason) (selfie_run_info{_OF})", "{{reason}}"),),
                    kind="number",
                    width=12,
                    height=5,
                ),
                Panel(
                    "Runs",
                    "Progress is the share of steps that are published, the time left an estimate, the "
                    "accuracy the best round's so far.",
                    (
                        (f"max by (namespace, run, state, reason, stage, round) (selfie_run_info{_OF})", ""),
                        (f"max by (namespace, run) (selfie_run_progress_ratio{_OF})", "progress"),
                        (f"max by (namespace, run) (selfie_run_eta_seconds{_OF})", "seconds left"),
                        (f"max by (namespace, run) (selfie_run_best_accuracy_ratio{_OF})", "best accuracy"),
                    ),
                    kind="table",
                    width=24,
                    height=9,
                ),
            ),
        ),
        Row(
            "Progress",
            (
                Panel(
                    "Progress",
                    "Share of steps published, with the present step's own progress.",
                    ((f"max by (namespace, run) (selfie_run_progress_ratio{_OF})", _RUN),),
                    unit="percentunit",
                ),
                Panel(
                    "Present step",
                    "How far it is, where its service says so.",
                    ((f"max by (namespace, run) (selfie_run_step_progress_ratio{_OF})", _RUN),),
                    unit="percentunit",
                ),
                Panel(
                    "Time left",
                    "A step is taken to last as long as its like did so far.",
                    ((f"max by (namespace, run) (selfie_run_eta_seconds{_OF})", _RUN),),
                    unit="s",
                ),
                Panel(
                    "Time in the present stage",
                    "What counts for its deadline, and the deadline where there is one.",
                    (
                        (f"max by (namespace, run) (selfie_run_stage_active_seconds{_OF})", _RUN),
                        (
                            f"max by (namespace, run) (selfie_run_stage_deadline_seconds{_OF})",
                            f"{_RUN} at most",
                        ),
                    ),
                    unit="s",
                ),
                Panel(
                    "Duration of steps",
                    "Of the attempt that was published.",
                    (
                        (
                            f"max by (namespace, run, round, step) (selfie_step_duration_seconds{_OF})",
                            f"{_RUN} round {{{{round}}}} {{{{step}}}}",
                        ),
                    ),
                    unit="s",
                    kind="bars",
                    width=16,
                    height=12,
                ),
            ),
        ),
        Row(
            "What they cost",
            (
                Panel(
                    "Accelerator-hours",
                    "Durations of published steps times the accelerators that they held; 0 on processors.",
                    ((f"sum by (namespace, run) (selfie_step_accelerator_seconds{_OF}) / 3600", _RUN),),
                    kind="bars",
                ),
                Panel(
                    "Tokens",
                    "Generated, scored and trained on, in what is published.",
                    ((f"sum by (namespace, run, kind) (selfie_round_tokens{_OF})", f"{_RUN} {{{{kind}}}}"),),
                    kind="bars",
                ),
                Panel(
                    "Hours of published steps",
                    "All steps of a run together.",
                    ((f"sum by (namespace, run) (selfie_step_duration_seconds{_OF}) / 3600", _RUN),),
                    kind="bars",
                ),
            ),
        ),
        Row(
            "Failures",
            (
                Panel(
                    "Attempt at the present step",
                    "1 where nothing failed.",
                    ((f"max by (namespace, run) (selfie_run_attempts{_OF})", _RUN),),
                ),
                Panel(
                    "Restarts within the attempt",
                    "Starts of its pods or processes after the first: evictions, lost nodes.",
                    ((f"max by (namespace, run) (selfie_run_restarts{_OF})", _RUN),),
                ),
                Panel(
                    "Batch operations by their end",
                    "Ends in the last hour, of generation, scoring and filtering.",
                    (
                        (
                            f"sum by (state, reason) (increase(selfie_operations_ended_total{_OF}[1h]))",
                            "{{state}} {{reason}}",
                        ),
                    ),
                ),
                Panel(
                    "Gates crossed",
                    "By round; what follows from it stands in the run's evaluation.gates.",
                    (
                        (
                            f"sum by (namespace, run, round) (selfie_round_breaches{_OF})",
                            f"{_RUN} {{{{round}}}}",
                        ),
                    ),
                    kind="bars",
                ),
            ),
        ),
    ),
)
