import pytest

from api.negotiation import is_known, prefers_html, strong_etag


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/html", True),
        ("text/*", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("application/json, text/html;q=0.9", False),
        ("text/html;q=0.5, application/json;q=0.4", True),
        ("text/html;q=0, */*", False),
        ("text/html;q=nan", False),
        ("text/html;q=7", False),
        ("application/problem+json", False),
        (",,;;==/", False),
        ("image/png", False),
    ],
)
def test_a_page_is_given_to_whoever_wants_it_more_than_json(accept: str, html: bool) -> None:  # noqa: FBT001  # a table
    assert prefers_html(accept) is html


def test_equal_bytes_have_equal_tags_and_others_do_not() -> None:
    assert strong_etag(b"a") == strong_etag(b"a") != strong_etag(b"b")


@pytest.mark.parametrize("header", ['"x"', 'W/"x"', '"y", "x"', "*"])
def test_a_tag_the_client_has_is_known(header: str) -> None:
    assert is_known(header, '"x"')


@pytest.mark.parametrize("header", [None, "", '"y"', "x"])
def test_another_tag_is_not(header: str | None) -> None:
    assert not is_known(header, '"x"')
