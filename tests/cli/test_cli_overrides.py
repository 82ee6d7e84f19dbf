"""Specs from the command line."""

import io

import pytest
from milepost_cli.errors import UsageFaultError
from milepost_cli.overrides import apply_override, read_spec

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a=5", {"a": 5}),
        ("a.b.c=5", {"a": {"b": {"c": 5}}}),
        ("a.b=0.001", {"a": {"b": 0.001}}),
        ("a=true", {"a": True}),
        ("a=null", {"a": None}),
        ('a="5"', {"a": "5"}),
        ("a=aapl", {"a": "aapl"}),
        ("a=x=y", {"a": "x=y"}),
        ("a=", {"a": ""}),
        ('a={"b": [1, 2]}', {"a": {"b": [1, 2]}}),
    ],
)
def test_an_override_sets_the_field_to_json_or_else_to_text(override: str, expected: object) -> None:
    """The value is read as JSON, and as text when it is no JSON."""
    spec: dict[str, object] = {}
    apply_override(spec, override)
    assert spec == expected


def test_overrides_change_one_field_and_leave_the_others() -> None:
    """Only the named field changes, inside lists too."""
    spec = read_spec('{"a": {"b": 1, "c": 2}, "list": [{"d": 1}, {"d": 2}]}', ["a.b=7", "list.1.d=9"])
    assert spec == {"a": {"b": 7, "c": 2}, "list": [{"d": 1}, {"d": 9}]}


@pytest.mark.parametrize("override", ["a", "=5", ".a=5", "a..b=5", "a.=5", ""])
def test_an_override_without_path_or_value_is_refused_with_an_example(override: str) -> None:
    """A malformed override is a usage error that shows the right form."""
    with pytest.raises(UsageFaultError) as caught:
        apply_override({}, override)
    assert "--set strategy.parameters.fast=5" in caught.value.words.fix


@pytest.mark.parametrize("override", ["a.b.c=1", "list.5=1", "list.x=1"])
def test_an_override_through_something_without_fields_is_refused(override: str) -> None:
    """There is no field in a number, and no sixth item in a list of one."""
    with pytest.raises(UsageFaultError, match="there is no"):
        apply_override({"a": {"b": 1}, "list": [0]}, override)


def test_a_spec_comes_from_a_file_from_standard_input_or_inline(tmp_path, monkeypatch) -> None:
    """All three ways give the same spec, and none at all an empty one."""
    path = tmp_path / "spec.json"
    path.write_text('{"a": 1}')
    monkeypatch.setattr("sys.stdin", io.StringIO('{"a": 1}'))
    assert read_spec(str(path), []) == read_spec("-", []) == read_spec(' {"a": 1}', []) == {"a": 1}
    assert read_spec(None, []) == {}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "line 1, column 2"),
        ('{"a": 1,\n "b": }', "line 2"),
        ("[1]", "list, not a JSON object"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_spec_that_is_no_json_object_is_refused_with_the_place(tmp_path, content: str, words: str) -> None:
    """The message says where the JSON breaks off."""
    path = tmp_path / "spec.json"
    path.write_text(content)
    with pytest.raises(UsageFaultError, match=words):
        read_spec(str(path), [])


def test_a_spec_file_that_is_not_there_or_no_text_is_refused(tmp_path) -> None:
    """A missing file, a directory and a binary file are usage errors that name the way out."""
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for source in (str(tmp_path / "none.json"), str(tmp_path), str(binary)):
        with pytest.raises(UsageFaultError, match="cannot be read") as caught:
            read_spec(source, [])
        assert "milepost spec example" in caught.value.words.fix
