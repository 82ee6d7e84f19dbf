"""What a checkpoint must have in common with the run that goes on from it."""

from pathlib import Path

import pytest
import torch
from milepost_contracts.failures import FailureCode
from milepost_models.environment import environment_of
from milepost_runtime.errors import FingerprintMismatchError
from milepost_runtime.fingerprints import ENVIRONMENT, accepted_differences, compare_fingerprints
from milepost_runtime.worker.failure import describe_failure
from milepost_trainer.fingerprint import fingerprint_of

from tests.trainer.trainer_doubles import Workplace

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("workplace"))


def test_other_data_and_settings_are_each_named_and_never_accepted(place: Workplace, tmp_path: Path) -> None:
    """Data, seed and optimizer are named beside the version of torch, and the command cannot accept them."""
    other = Workplace(tmp_path / "other", seed=2).job(seed=1, optimizer={"learning_rate": 0.5})
    present = {**other.fingerprint, "environment.torch": "9.9"}
    with pytest.raises(FingerprintMismatchError) as refusal:
        accepted_differences(place.job().fingerprint, present, accept_environment=True)
    named = [part.split(" ")[0] for part in refusal.value.detail.split("; ")]
    assert named == ["data", "spec.optimizer", "spec.seed", "torch"]
    assert "spec.seed was '0' and is '1'" in refusal.value.detail
    assert not refusal.value.environment_only


def fake(place: Workplace, **entries: str | None) -> dict[str, str]:
    """The fingerprint of a checkpoint that was saved in another environment; None takes an entry away."""
    found = dict(place.job().fingerprint)
    for name, value in entries.items():
        found.pop(f"{ENVIRONMENT}{name}")
        if value is not None:
            found[f"{ENVIRONMENT}{name}"] = value
    return found


@pytest.mark.parametrize(
    "name",
    [
        "torch",
        "numpy",
        "pyarrow",
        "python",
        "libc",
        "device",
        "default_dtype",
        "matmul_precision",
        "cpu_capability",
        "cpu_instructions",
        "mkl",
        "mkldnn",
    ],
)
def test_another_environment_is_refused_by_name_unless_it_is_accepted(place: Workplace, name: str) -> None:
    """Each entry is refused in words, and accepted with the same words when the command says so."""
    saved, present = fake(place, **{name: "other"}), place.job().fingerprint
    words = f"{name} was 'other' and is {present[ENVIRONMENT + name]!r}"
    with pytest.raises(FingerprintMismatchError) as refusal:
        accepted_differences(saved, present, accept_environment=False)
    assert refusal.value.detail == words
    assert accepted_differences(saved, present, accept_environment=True) == (words,)


def test_a_gpus_checkpoint_on_a_cpu_is_a_difference_of_devices(place: Workplace) -> None:
    """The device as it was and is, and what only a GPU has, are named; the spec's ``auto`` is no difference."""
    saved = {**fake(place, device="cuda NVIDIA H200 (9.0)"), "environment.cudnn": "91002"}
    found = compare_fingerprints(saved, place.job().fingerprint)
    assert found.others == ()
    assert found.environment == (
        "cudnn was '91002' and is absent",
        "device was 'cuda NVIDIA H200 (9.0)' and is 'cpu'",
    )


def test_the_refusal_tells_how_to_accept(place: Workplace) -> None:
    """The failure's fix names the option only when every difference can be accepted."""
    present = place.job().fingerprint
    fixes: list[str | None] = []
    for saved in (fake(place, torch="1.0"), {**fake(place, torch="1.0"), "engine": "0"}):
        with pytest.raises(FingerprintMismatchError) as refusal:
            accepted_differences(saved, present, accept_environment=False)
        failure = describe_failure(refusal.value)
        assert failure.code is FailureCode.FINGERPRINT_MISMATCH
        fixes.append(failure.fix)
    assert ["--accept-environment" in str(fix) for fix in fixes] == [True, False]


def test_a_restart_of_the_same_has_no_difference(place: Workplace) -> None:
    """Two jobs of one spec have one fingerprint, whatever the data is called."""
    job = place.job()
    assert compare_fingerprints(place.job().fingerprint, job.fingerprint) == compare_fingerprints({}, {})
    spec = place.spec()
    assert fingerprint_of(spec, task_version="2", device="cpu")["task"] == "bars 2"
    found = fingerprint_of(spec, task_version="2", device="cpu", versions={"TA-Lib": "0.6"})
    assert found["environment.TA-Lib"] == "0.6"


def test_a_task_cannot_hide_what_was_found() -> None:
    """A library that a task gives as torch or device does not replace the real ones."""
    versions = {"torch": "0", "device": "mine", "TA-Lib": "0.6"}
    found = environment_of("cpu", variables={}, versions=versions)
    assert found == {**environment_of("cpu", variables={}), "TA-Lib": "0.6"}


def test_settings_of_the_libraries_are_part_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables and switches that choose other kernels are named with their values."""
    before = environment_of("cpu", variables={})
    changed = environment_of("cpu", variables={"MKL_CBWR": "COMPATIBLE", "PATH": "/bin"})
    assert {name: value for name, value in changed.items() if name not in before} == {
        "MKL_CBWR": "COMPATIBLE"
    }
    torch.set_float32_matmul_precision("high")
    try:
        assert environment_of("cpu", variables={})["matmul_precision"] == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert environment_of("cpu", variables={})["mkldnn"] == "False"
