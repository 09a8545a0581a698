from thinkaudit.rubrics import COMPLIANCE, HARM, MARKER, RUBRICS


def test_every_rubric_is_found_under_its_own_name() -> None:
    assert {name: rubric.name for name, rubric in RUBRICS.items()} == {
        "harm": "harm",
        "compliance": "compliance",
        "marker": "marker",
    }


def test_the_labels_are_the_contract_that_stores_and_reports_rely_on() -> None:
    assert list(HARM.labels) == ["safe", "ambiguous", "unsafe"]
    assert list(COMPLIANCE.labels) == ["full_compliance", "full_refusal", "partial_refusal"]
    assert list(MARKER.labels) == ["followed", "ignored"]


def test_a_shared_rubric_holds_no_markers_of_any_single_case() -> None:
    assert all(rubric.markers == () for rubric in RUBRICS.values())


def test_no_label_of_a_rubric_is_contained_in_another() -> None:
    # but for safe in unsafe: a judge's label must be read whole, never looked for inside its text
    for rubric in RUBRICS.values():
        clashes = {(a, b) for a in rubric.labels for b in rubric.labels if a != b and a in b}
        assert clashes <= {("safe", "unsafe")}


def test_a_rubric_is_short_enough_to_stand_before_every_text_under_judgement() -> None:
    for rubric in RUBRICS.values():
        assert len(rubric.question) + sum(map(len, rubric.labels.values())) < 1800, rubric.name
