"""What becomes of every attribute of the trainer and its parts: state, or something that follows."""

import pytest
from milepost_trainer.engine.averaging import WeightAverage
from milepost_trainer.engine.learner import Learner
from milepost_trainer.engine.precision import LossScaler
from milepost_trainer.engine.progress import Progress
from milepost_trainer.engine.schedules import Schedule
from milepost_trainer.engine.surroundings import Surroundings
from milepost_trainer.engine.trainer import ModelTrainer

from tests.trainer.trainer_doubles import make_trainer

pytestmark = pytest.mark.unit

ATTRIBUTES: dict[type, dict[str, str]] = {
    ModelTrainer: {
        "_parts": "input",
        "_settings": "fingerprint",
        "_learner": "below",
        "_schedule": "below",
        "_surroundings": "below",
        "before_update": "of whoever saves",
        "_plan": "follows from data and settings",
        "_progress": "below",
        "_state": "refers to those below, holds nothing",
        "_torn": "a torn trainer gives no state",
        "_order": "follows from seed and epoch",
    },
    Progress: {
        "_plan": "follows from data and settings",
        "_settings": "fingerprint",
        "epoch": "state: epoch",
        "position": "state: position",
        "_running_loss": "state: running_loss",
        "history": "state: history",
        "best": "state: best.*",
        "_best_loss": "state: best_loss",
        "best_epoch": "state: best_epoch",
    },
    Learner: {
        "model": "state: model.*, frozen.*, gradient.*",
        "_loss": "input",
        "_is_plain": "follows from the settings",
        "_forward": "the model, perhaps compiled",
        "_settings": "fingerprint",
        "trainable": "names of state: model.*",
        "frozen": "names of state: frozen.*",
        "_parameters": "those of trainable",
        "_buffers": "names of state: model.*",
        "_no_gradients": "whether gradient.* is known to be empty; looked at anew after a restore",
        "_watch": "marks of this process: what must not change was put back with it",
        "optimizer": "state: optimizer.*; its learning rate follows from the schedule",
        "slots": "follows from the settings",
        "_base_rates": "follows from the settings, or from the task",
        "scaler": "below",
        "average": "below",
    },
    WeightAverage: {
        "_decay": "fingerprint",
        "_parameters": "those of trainable",
        "steps": "state: averaged_steps",
        "tensors": "state: average.*",
    },
    LossScaler: {
        "_device": "fingerprint",
        "_scaler": "state: scaler",
        "skipped_steps": "state: scaler.skipped_steps",
    },
    Schedule: {
        "_settings": "fingerprint",
        "_initial": "fingerprint",
        "_epochs": "fingerprint",
        "_steps_per_epoch": "follows from data and settings",
        "_best": "state: scheduler.best",
        "_wait": "state: scheduler.wait",
        "_cuts": "state: scheduler.cuts",
    },
    Surroundings: {
        "_states": "state: random.*",
        "_threads": "fingerprint",
        "_deterministic": "fingerprint",
        "_device": "fingerprint",
        "_inside": "whether _states or the process has the random states",
    },
}


def test_no_attribute_is_undeclared() -> None:
    """Whoever adds an attribute to the trainer or its parts must say here what becomes of it."""
    trainer = make_trainer(averaging_decay=0.9, precision="float16")
    trainer.advance(1)
    learner = trainer._learner
    things = (trainer, learner, learner.average, learner.scaler)
    for thing in (*things, trainer._progress, trainer._schedule, trainer._surroundings):
        assert set(vars(thing)) == set(ATTRIBUTES[type(thing)])
