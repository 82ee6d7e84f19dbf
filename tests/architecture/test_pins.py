"""The files that pin what is installed."""

from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.unit


def pins(name: str) -> dict[str, str]:
    """Return what a requirements file asks of each package, by its canonical name."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    found = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return {canonicalize_name(each.name): str(each.specifier) for each in found}


@pytest.mark.parametrize("name", ["requirements-bench.txt", "requirements-dev.txt"])
def test_no_package_is_pinned_to_two_versions(name: str) -> None:
    """What a file beside the constraints pins for itself, the constraints do not pin otherwise."""
    constraints, wanted = pins("constraints.txt"), pins(name)
    assert wanted
    both = {each for each in constraints.keys() & wanted.keys() if wanted[each]}
    assert {each: wanted[each] for each in both} == {each: constraints[each] for each in both}
