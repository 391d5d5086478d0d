"""Messages for a user."""

import pytest

from servetwin.errors import InputError, counted, nearest


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 requests"), (1, "1 request"), (2, "2 requests"), (19_366, "19,366 requests")],
)
def test_a_count_agrees_with_its_noun(count: int, said: str) -> None:
    assert counted(count, "request") == said


def test_a_message_is_one_line() -> None:
    assert str(InputError("a\n  b\t c")) == "a b c"


def test_the_nearest_words_are_offered_whatever_their_case() -> None:
    assert nearest("a100-80gb", ["A100-80GB", "T4"]) == "did you mean A100-80GB?"
    assert nearest("zebra", ["A100-80GB", "T4"]) == ""
