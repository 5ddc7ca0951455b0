"""Numerical layer: the derived equations solved over grids, and what is read off the solution.

    errors           what a user can cause; the command line maps each to an exit code
    memory           work that cannot fit is refused
    arguments        what a user gives as numbers, arrays, counts, choices: checked and converted, for all functions
    status           what became of a point, in words
    running          work that takes long: engines, the driver, the one file of unfinished work, BLAS on one thread
    last_row         which last feature and how many rows of weights at finite D
    sizes            P, N, K, lam and T at one dimension, and back: the only place of these formulas
    task_spectrum    covariance spectra of tasks
    parameter_table  names, ranges and defaults of all parameters; the words that choose a model
    parameters       Parameters, checked once
    keywords         how functions take them: signatures, DataArrays by name
    codegen          writes generated_numpy and generated_mpmath
    fixed_point      damped iteration and bracketed roots: knows no physics
    vector_root      fixed points of a few variables: Newton's method over grids; knows no physics
    matrix_denoiser  the spins' side of the nuclear norm
    gamma_quadrature, prompt_scalars, finite_matrix
                     the law of one prompt's scalars at finite D, and the spins' side of the nuclear norm there
    lowering         averages of the derived systems as sums over nodes
    handshake        the saddle point of any model
    one_step         the saddle point of one step of replica symmetry breaking
    mixing           fixed points of many points side by side
    token_law        tokens correlated along the prompt
    finite_dimension, finite_observables, finite_models
                     any model at finite D
    pool             finite pools of tasks
    storage, archive datasets to and from netCDF, atomically, with provenance; arrays from .npz files
    solution         what the theory returns over a grid, by name
    model_choice     which model parameters choose, and which parts do not go together
    model_points     the points of a chosen model, by the handshake of its two sides
    model_precision  one point of a chosen model at any number of digits
    precision        solve_digits(...): one point at any number of digits
    moments          exact second moments of one prompt at finite D and N
    spectrum         Marchenko-Pastur law and the Hessian's eigenvalues
    drawn_pools, pool_averages, finite_own_tasks, finite_pool, finite_size
                     ridge regression at finite D, pools of tasks too
    saddle_point     solve(...): the saddle point and all observables over a grid; points of finite D go to finite_size
    sweep            solve over the product of axes, as a labelled dataset
    gradient         d e_icl / d parameter
    best_ridge       the ridge with the least error on a new task
    error_shares, best_task_spectrum
                     structured tasks: what each test direction costs, and what to pretrain on
    lines            lines located on a grid of two axes
    phase_diagram    a sweep of two axes with its lines
    deviations       a simulated sweep against the theory beside it, in standard errors
    learning_curve_averages, learning_curve, stopping_time
                     training by gradient flow in time, and when to stop
    instance         one data set: its prompts, couplings and Boltzmann measure, by linear algebra and message passing
    state_evolution  what message passing will do, step by step
    plotting         pictures of all of these, read from datasets

Each module uses only those above it and replica/; no simulation is known here.
"""
