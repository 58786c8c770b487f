"""The syntax of specs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowshed.errors import InvalidArgument
from cowshed.store import GroupSpec, ImageSpec, SnapSpec, parse_spec

NAMES = st.text(
    st.characters(exclude_characters="/@", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40
)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("a", ImageSpec("rbd", "", "a")),
        ("p/a", ImageSpec("p", "", "a")),
        ("p/n/a", ImageSpec("p", "n", "a")),
        ("a@s", SnapSpec("rbd", "", "a", "s")),
        ("p/n/a@s", SnapSpec("p", "n", "a", "s")),
        ("my image.raw", ImageSpec("rbd", "", "my image.raw")),
        ("-x", ImageSpec("rbd", "", "-x")),
        ("p///1f", ImageSpec("p", "", "1f", by_id=True)),
        ("p/n//1f", ImageSpec("p", "n", "1f", by_id=True)),
        ("p/n//1f@s", SnapSpec("p", "n", "1f", "s", by_id=True)),
    ],
)
def test_what_a_text_means(text: str, spec: ImageSpec | SnapSpec) -> None:
    assert parse_spec(text) == spec


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "a@",
        "@s",
        "/a",
        "a/",
        "p//a",
        "p/n/",
        "p/n/x/a",
        "p/n//",
        "/n//1f",
        "p///1f/x",
        "a@s@t",
        "a@s/t",
        "a\n",
        "a\x7f",
        "a\0",
        "\udcff",
    ],
)
def test_what_is_no_spec(text: str) -> None:
    for parse in (parse_spec, ImageSpec.parse, SnapSpec.parse):
        with pytest.raises(InvalidArgument) as caught:
            parse(text)
        assert str(caught.value).encode()  # can be printed


def test_names_have_a_greatest_length() -> None:
    ImageSpec.parse("ä" * 127)
    with pytest.raises(InvalidArgument, match="256 bytes"):
        ImageSpec.parse("ä" * 128)


@given(NAMES, st.just("") | NAMES, NAMES, st.booleans())
def test_images_there_and_back(pool: str, namespace: str, image: str, by_id: bool) -> None:
    spec = ImageSpec(pool, namespace, image, by_id)
    assert ImageSpec.parse(str(spec)) == parse_spec(str(spec)) == spec
    with pytest.raises(InvalidArgument, match="snapshot"):
        SnapSpec.parse(str(spec))


@given(NAMES, st.just("") | NAMES, NAMES, NAMES, st.booleans())
def test_snapshots_there_and_back(pool: str, namespace: str, image: str, snapshot: str, by_id: bool) -> None:
    spec = SnapSpec(pool, namespace, image, snapshot, by_id)
    assert SnapSpec.parse(str(spec)) == parse_spec(str(spec)) == spec == spec.image_spec.at(snapshot)
    with pytest.raises(InvalidArgument, match="snapshot"):
        ImageSpec.parse(str(spec))


@given(st.text(st.characters(), max_size=30) | st.text("ab/@", max_size=8))
def test_any_text_is_a_spec_or_refused(text: str) -> None:
    try:
        spec = parse_spec(text)
    except InvalidArgument:
        return
    assert parse_spec(str(spec)) == spec
    assert isinstance(spec, SnapSpec) == ("@" in text)


def test_groups_have_no_ids_in_specs() -> None:
    with pytest.raises(InvalidArgument):
        GroupSpec.parse("p/n//g")
