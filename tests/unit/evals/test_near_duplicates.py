"""Near-duplicates are found; prompts that share a template are not mistaken for them."""

from pointsman.evals.near_duplicates import near_duplicate_clusters

LONG = "a train leaves the station at nine in the morning and travels north at sixty miles an hour until it reaches {}"


def test_a_changed_word_at_the_end_is_a_near_duplicate() -> None:
    clusters = near_duplicate_clusters(
        [LONG.format("Boston"), "what is a verb", LONG.format("Albany"), LONG.format("x y")]
    )
    assert clusters[0] == clusters[2] == 0
    assert clusters[1] == 1


def test_case_and_punctuation_do_not_matter() -> None:
    clusters = near_duplicate_clusters(["Who wrote: 'War and Peace', and when?", "who wrote War and Peace and when"])
    assert clusters[0] == clusters[1]


def test_a_shared_template_is_no_duplicate() -> None:
    template = "choose the best answer from the following options and reply with the letter of that answer alone please"
    texts = [f"{template} word{i} thing{i} stone{i} bird{i} river{i} cloud{i}" for i in range(60)]
    assert len(set(near_duplicate_clusters(texts))) == 60


def test_short_and_wordless_texts() -> None:
    clusters = near_duplicate_clusters(["hi", "hi", "!!", "??", ""])
    assert clusters[0] == clusters[1]
    assert len(set(clusters.tolist())) == 4


def test_no_texts() -> None:
    assert near_duplicate_clusters([]).shape == (0,)
