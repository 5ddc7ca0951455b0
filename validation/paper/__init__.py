"""The figures of the paper (SG, Li, Bai, Huang, arXiv:2408.02288), each simulated, drawn and judged by one module.

    figure      what a figure is: parameters, simulation, picture, verdict
    simulating  its simulation in parts, over grids of points
    judging     simulation against theory: rows, limits, biases that would be seen
    drawing     its panels
    published   the authors' own data, read from a user's copy of their repository
    catalogue   which figures there are
    reproduce   one figure into a folder: data file, pictures, verdict
    moments     the derived moments of couplings and fields, which two figures need
    notes       the account of a whole reproduction, as Markdown
    divergence  where the published iteration has no fixed point, which fig-4 draws
    contrast_maps  fig-4's maps of the contrast ratio
    architectures  the layers of fig-S8, in PyTorch
    correlated_tokens  law and theory of prompts whose tokens are correlated
    fig_*       the figures

All have SG's layer: unit tokens and the last row (`numerics.last_row`). `iclglass reproduce FIG` runs it.
"""
