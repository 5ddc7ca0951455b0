"""A linear attention layer actually trained, to be held against the theory of where training ends and how it goes."""

from validation.training.layer import effective_weights, initial_parameters
from validation.training.loop import train
from validation.training.run import Outcome, TrainingRun

__all__ = ["Outcome", "TrainingRun", "effective_weights", "initial_parameters", "train"]
