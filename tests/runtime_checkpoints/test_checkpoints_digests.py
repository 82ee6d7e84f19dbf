"""Digests and canonical JSON."""

import hashlib
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_runtime.digests import (
    CHUNK_BYTES,
    FileDigest,
    canonical_json,
    digest_of_bytes,
    digest_of_file,
    measure_file,
)

pytestmark = pytest.mark.unit

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | FLOATS | st.text()
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_digest_of_a_file(tmp_path, size):
    """A file has the digest of its bytes, whatever its length is next to the chunks."""
    content = b"\x5a" * size
    (tmp_path / "file").write_bytes(content)
    expected = "sha256:" + hashlib.sha256(content).hexdigest()
    assert digest_of_file(tmp_path / "file") == digest_of_bytes(content) == expected
    assert measure_file(tmp_path / "file") == FileDigest(expected, size)


@given(JSON)
def test_canonical_json_comes_back_exact(value):
    """Whatever is accepted comes back equal, each float bit for bit."""
    back = json.loads(canonical_json(value))
    assert back == value
    assert repr(back) == repr(json.loads(json.dumps(value, sort_keys=True)))


@given(FLOATS)
def test_floats_keep_every_bit(number):
    """A float comes back with the same bits, also -0.0 and the denormal ones."""
    assert json.loads(canonical_json([number]))[0].hex() == number.hex()


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=6), st.randoms())
def test_order_of_keys_does_not_matter(value, random):
    """Equal content has equal bytes."""
    items = list(value.items())
    random.shuffle(items)
    assert canonical_json(dict(items)) == canonical_json(value)


def test_form():
    """Keys sorted, nothing between, text as UTF-8."""
    assert canonical_json({"b": [1.5, None], "a": "ü"}) == '{"a":"ü","b":[1.5,null]}'.encode()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"equity": [1.0, math.nan]}, "$.equity[1]"),
        ({"metrics": {"sharpe": math.inf}}, "$.metrics.sharpe"),
        ([{"x": -math.inf}], "$[0].x"),
        ({"positions": {7: "long"}}, "$.positions: the key 7"),
        ({"window": (1.0, 2.0)}, "$.window: tuple"),
        ({"when": {1, 2}}, "$.when: set"),
        ({"raw": b"x"}, "$.raw: bytes"),
        ({"text": "\ud800"}, "$.text"),
    ],
)
def test_what_would_not_come_back_is_refused(value, path):
    """A value that JSON cannot hold exactly is refused, with its path in the message."""
    with pytest.raises(ValueError, match=re.escape(path)):
        canonical_json(value)
