from app.formats.words import suggest


def test_the_closest_word_is_suggested_whatever_its_case_and_never_the_word_itself() -> None:
    assert suggest("ordr", ["Order", "Item"]) == ", did you mean `Order`?"
    assert suggest("xyz", ["Order", "Item"]) == ""
    assert suggest("Order", ["Order"]) == ""
