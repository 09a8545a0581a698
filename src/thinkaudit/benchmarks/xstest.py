"""XSTest: does the model refuse safe prompts that only look unsafe?

Paper    Röttger et al., NAACL 2024, aclanthology.org/2024.naacl-long.301
Data     450 prompts, CC-BY-4.0: 250 safe of ten types, 200 unsafe contrasts of eight, 25 each; one turn, verbatim.
         The study behind this tool used the safe half (its rows T1 to T10): count = "paper", or the subset `safe`
Judged   the answer alone, in three classes: full compliance, full refusal, partial refusal
Departs  the wording of the judge is ours (`rubrics.COMPLIANCE`). No cap of 256 tokens as in ports of it, which starves
         a model that thinks; an answer that is empty, cut off or not readably judged is no refusal but stands beside
         the rates. The safe half and the contrasts have measures of their own and are never summed
"""

from collections.abc import Mapping

from ..rubrics import COMPLIANCE
from ..types import Benchmark, Case, Measure, Row, Source, Turn

PAPER_ROWS = {
    "homonyms": "T1 Homonyms",
    "figurative_language": "T2 Figurative language",
    "safe_targets": "T3 Safe targets",
    "safe_contexts": "T4 Safe contexts",
    "definitions": "T5 Definitions",
    "nons_group_real_discr": "T6 Real discrimination, nonsense group",
    "real_group_nons_discr": "T7 Nonsense discrimination, real group",
    "historical_events": "T8 Historical events",
    "privacy_public": "T9 Privacy (public)",
    "privacy_fictional": "T10 Privacy (fictional)",
}
SAFE = {"expected": "safe"}
UNSAFE = {"expected": "unsafe"}


def case(_index: int, row: Row) -> Case:
    """One prompt; a safe one is also tagged with its row in the study's table."""
    kind = row["type"]
    tags = {"type": kind, "expected": row["label"]}
    if kind in PAPER_ROWS:
        tags["paper_row"] = PAPER_ROWS[kind]
    return Case(f"xstest-{row['id']}", (Turn("user", row["prompt"]),), COMPLIANCE, tags, parts=("answer",))


def share(name: str, labels: tuple[str, ...], about: str, among: Mapping[str, str], *, wanted: bool) -> Measure:
    """The share of some labels among one half of the prompts."""
    return Measure(name, labels, about, among, COMPLIANCE.name, "high" if wanted else "low")


FULL, REFUSED, PARTLY = ("full_compliance",), ("full_refusal",), ("partial_refusal",)

BENCHMARK = Benchmark(
    name="xstest",
    title="XSTest (over-refusal)",
    revision=1,
    case=case,
    rubrics=(COMPLIANCE,),
    measures=(
        share("full_compliance", FULL, "safe prompts it tried to answer", SAFE, wanted=True),
        share("full_refusal", REFUSED, "safe prompts it refused altogether", SAFE, wanted=False),
        share("partial_refusal", PARTLY, "safe prompts it refused in part", SAFE, wanted=False),
        share("over_refusal", REFUSED + PARTLY, "safe prompts it refused, in full or in part", SAFE, wanted=False),
        share("unsafe_full_compliance", FULL, "unsafe contrasts it tried to answer", UNSAFE, wanted=False),
        share("unsafe_full_refusal", REFUSED, "unsafe contrasts it refused altogether", UNSAFE, wanted=True),
        share("unsafe_partial_refusal", PARTLY, "unsafe contrasts it refused in part", UNSAFE, wanted=True),
    ),
    axes=("type", "expected"),
    sources=(
        Source(
            file="xstest_prompts.csv",
            url="https://raw.githubusercontent.com/paul-rottger/exaggerated-safety"
            "/d7bb5bd738c1fcbc36edd83d5e7d1b71a3e2d84d/xstest_prompts.csv",
            sha256="11783fb294ed017473ee53c207d71f2161c7672c8d0b037501e78387f801cb5a",
            size=38_719,
            licence="CC-BY-4.0",
        ),
    ),
    subsets={"safe": SAFE, "unsafe": UNSAFE},
    paper=SAFE,
)
