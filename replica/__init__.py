"""Symbolic layer: from the Hamiltonian to the saddle-point equations, with SymPy and nothing else.

    symbols       every symbol of the project, made here and nowhere else
    guarded_limit every limit and value at 0, held against numbers
    sampling      signs of expressions at sample values, where assumptions do not decide
    pieces        where an expression of one variable is smooth
    energies      one energy of one variable: its pieces, whether quadratic, whether convex
    growth        what is left of a penalty on large spins
    losses        the losses as data, and the labels they go with
    measures      where spins may lie, and penalties, as data
    model         the model as data: quenched disorder, features, loss, prior, scaling
    model_checks  what own energies must satisfy
    own_model     a user's own Hamiltonian
    moments       exact disorder averages at finite D and N (Wick/Isserlis contractions)
    disorder      the averages the theory uses, by name
    averages      the one unevaluated Gaussian average: derivatives pass under it
    one_body      what one spin and one prompt do, as functions that know their derivatives
    ansatz        replica-symmetric matrices for a symbolic number of replicas n
    functional    n replicas of any spin and prompt in an ansatz, n -> 0
    stability     the replicon
    system        stationarity for any model: both sides, observables, replicon, with averages
    action        replicate n times, average over the disorder
    quadratic     squared error and Gaussian spins: one-body integrals in closed form
    free_energy   the functional with its averages done
    saddle_point  the saddle-point equations and the observables without averages, proved to be the system's
    thermodynamics what a temperature adds to the ground state, and T -> 0
    closed_form   elimination to closed form, proved
    limits        lam -> 0, tau = 1, T -> 0
    cavity        the system by leaving one prompt and one spin out
    pool          finite pools of tasks, the spectrum kept abstract
    theories      theories beside that of independent spins at D -> infinity: factorised weights, finite D
    stages        what each stage shows, and why
    derivation    the stages in order
    render        text, LaTeX and the generated pages of notes/

Each module uses only those above it. Nothing here knows numpy, scipy or any data.
"""
