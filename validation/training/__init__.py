"""A linear attention layer actually trained, to be held against the theory of where training ends and how it goes."""

from iclglass.validation.training.layer import effective_weights, initial_parameters
from iclglass.validation.training.loop import train
from iclglass.validation.training.run import Outcome, TrainingRun

__all__ = ["Outcome", "TrainingRun", "effective_weights", "initial_parameters", "train"]
