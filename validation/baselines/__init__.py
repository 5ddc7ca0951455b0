"""Bayes estimators that see the same prompts as attention: what could be had, and what knowing the pool gives.

known_law       ridge: the posterior mean of who knows the law of tasks
known_pool      dMMSE: the posterior mean of who knows the pool of tasks
baselines       both, over arrays of parameters
"""
