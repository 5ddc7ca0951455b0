"""Finite-size simulation of in-context learning, and its comparison with the theory.

Data flow; every arrow is one function, every noun one small frozen dataclass:

    pools            draw_pool                                   tasks of a pool; a spectrum's D eigenvalues
    prompts          draw_prompts          -> Prompts            contexts, queries, labels of a data set
    token_correlations  correlation_of                          correlations of tokens along a prompt
    prompt_contexts  reduced_sums, token_sums                   the law of a prompt's context, and its tokens
    prompt_blocks    PromptBlocks                                the same in blocks, for workers: nobody holds all of it
    population       population_error      <- PromptMoments      exact errors on new prompts, at finite D and N
    observables      measure               -> Observables        order parameters, errors of a data set
    minimisers      minimise              -> Minimum            weights of least energy, any convex loss and penalty
    model_observables  measure_weights    -> WeightObservables  the same quantities of any weights, any loss and labels
    model_functions                                             a chosen model's loss, penalty and laws of spins
    model_experiment evaluate              <- Batch              data sets of a chosen model, drawn and measured
    model_theory                                                its theory, with the diagonal's penalty at the D at hand
    experiment       evaluate              <- DataSet            one data set, drawn and measured: the task of a worker
    simulation       simulate              -> FiniteSizeSamples  independent data sets, several dimensions
    statistics                                                   standard errors, z-scores, thresholds
    extrapolation    extrapolate           -> Extrapolation      value at 1/D -> 0
    verdict                                                      agree, disagree, inconclusive
    agreement                              Agreement             a comparison with its power, in numbers and words
    crosscheck       validate              -> Agreement          theory against it, judged, with the power of the check
    baselines        baselines             -> Baselines         Bayes estimators on the same prompts
    measured         compare               -> Comparison        measurements of others against the theory
    report                                                       one self-contained HTML page
    samplers         sample                -> Samples            draws from the Boltzmann measure, and checks of them
    gradient_flow    gradient_flow                               gradient flow and descent on one data set, exactly
    training         train                 -> TrainingRun        the layer trained by gradient descent
    sweeping         sweep_simulated                             a simulation at every point of a grid, on any engine
    paper            reproduce             -> Verdict            the figures of the paper
    suite            run_suite             -> SuiteResult        the pre-registered validation, and its page

This package imports `numerics` (theory, exact moments, errors), `paper` also `replica` (the derived moments and
symbols), and is imported by `iclglass` only.
Nothing is imported here, so that reading one module does not load all of them.
"""
