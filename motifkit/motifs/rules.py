"""The published rules that choose which windows make a filter's motif, in one registry.

docs/motif-rules.md tells them side by side. In the formulas a is the activation of a window, max and
mean are taken over all windows of all sequences, and all comparisons are strict unless >= is written.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Rule:
    """How windows are chosen, counted and turned into a motif.

    Attributes:
        name: in the registry. windows: "best" (of each sequence the best window), "all", "top" (the
            `top` best anywhere) or "class" (the best of each sequence of the filter's own class).
        reference: what `threshold` is a fraction of: "possible" (the activation of the best word),
            "observed" (the largest seen), "mean" (a fraction of the way from the mean to the largest
            seen) or "value" (the activation itself).
        threshold: windows must exceed it. weighted: windows count as much as their activation.
        ends: windows over an end of the sequence are "drop"ped or "keep"t.
        ambiguous: windows with N are kept, N counting nothing ("keep"), dropped ("drop"), or N counts
            a quarter of each letter ("share").
        pseudocount: added to every cell of the counts. width: letters shown at least.
        per_sequence: most windows of a sequence and filter, best first. top: most windows of a filter.
        fewest: windows that a motif needs. formula, source, ties: for people.
    """

    name: str
    windows: str
    reference: str
    threshold: float
    formula: str
    source: str
    weighted: bool = False
    ends: str = "keep"
    ambiguous: str = "keep"
    pseudocount: float = 0.0
    width: int = 0
    per_sequence: int | None = None
    top: int | None = None
    fewest: int = 1
    ties: str = "none arise"

    def __post_init__(self):
        choices = {
            "windows": ("best", "all", "top", "class"),
            "reference": ("possible", "observed", "mean", "value"),
            "ends": ("drop", "keep"),
            "ambiguous": ("keep", "drop", "share"),
        }
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field} must be one of {', '.join(allowed)}, not {getattr(self, field)!r}")
        for field in ("per_sequence", "top"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ValueError(f"{field} must be at least 1, got {value}")
        if self.pseudocount < 0:
            raise ValueError(f"pseudocount must not be negative, got {self.pseudocount}")

    def changed(self, **settings) -> "Rule":
        """The rule with those settings that are not None in place of its own."""
        return replace(self, **{name: value for name, value in settings.items() if value is not None})

    def describe(self, threshold: float | None = None) -> str:
        """One sentence for a page."""
        t = self.threshold if threshold is None else threshold
        return f"{self.formula.replace('{t}', f'{t:g}')} ({self.source})."


_FIRST = "the earliest window of a sequence"

_RULES = (
    Rule(
        "paper", "best", "possible", 0.7,
        "Of each sequence the window with the largest activation, if it exceeds {t} of the largest that any"
        " word could reach; windows over an end are dropped",
        "Koo & Eddy 2019, Methods, doi:10.1371/journal.pcbi.1007560", ends="drop", ties=_FIRST,
    ),
    Rule(
        "code", "all", "observed", 0.5,
        "Every window whose activation exceeds {t} of the largest observed, weighted by its activation,"
        " 19 letters wide or more",
        "the program of Koo & Eddy 2019", weighted=True, width=19,
    ),
    Rule(
        "basset", "all", "observed", 0.5,
        "Every window whose activation exceeds {t} of the largest observed; one count is added to every"
        " letter, and N counts a quarter of each",
        "Kelley, Snoek & Rinn 2016, doi:10.1101/gr.200535.115", ambiguous="share", pseudocount=1.0,
        fewest=10,
    ),
    Rule(
        "basset-code", "all", "mean", 0.5,
        "Every window whose activation exceeds mean + {t} (max - mean); one count is added to every letter,"
        " and N counts a quarter of each",
        "the programs of Basset and basenji", ambiguous="share", pseudocount=1.0, fewest=10,
    ),
    Rule(
        "satori", "all", "mean", 0.65,
        "Every window without N whose activation exceeds mean + {t} (max - mean); one count is added to"
        " every letter",
        "Ullah & Ben-Hur 2021, doi:10.1093/nar/gkab349", ends="drop", ambiguous="drop", pseudocount=1.0,
        fewest=10,
    ),
    Rule(
        "eugene", "top", "value", 0.0,
        "The 100 windows of the largest activations, if above {t}, from any sequences",
        "Klie et al. 2023, doi:10.1038/s43588-023-00544-w, n_seqlets", top=100,
        ties="the earliest sequence, then the earliest window",
    ),
    Rule(
        "scover", "best", "value", 0.0,
        "Of each sequence the window with the largest activation, if above {t}; at least 11 sequences",
        "Hepkema et al. 2023, scover, doi:10.1186/s13059-023-03021-9", fewest=11, ties=_FIRST,
    ),
    Rule(
        "pysster", "class", "value", 0.0,
        "The class whose sequences have the largest mean of maxima sets the threshold, that mean; of its"
        " sequences at or above it the best windows, at most 750 and a third of all sequences at or above it",
        "Budach & Marsico 2018, doi:10.1093/bioinformatics/bty222", top=750,
        ties="the earliest window (the program: at random), then the earliest sequence",
    ),
    Rule(
        "best", "best", "value", 0.0,
        "Of each sequence the window with the largest activation, if above {t}",
        "as scover and DanQ do", ties=_FIRST,
    ),
    Rule(
        "top", "top", "observed", 0.5,
        "The 1,000 windows of the largest activations, if above {t} of the largest observed, at most one a"
        " sequence",
        "this package", top=1000, per_sequence=1, ties="the earliest sequence",
    ),
)  # fmt: skip

RULES: dict[str, Rule] = {rule.name: rule for rule in _RULES}


def find_rule(rule: "str | Rule") -> Rule:
    """A rule by name; ValueError names those there are."""
    if isinstance(rule, Rule):
        return rule
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, not {rule!r}")
    return RULES[rule]
