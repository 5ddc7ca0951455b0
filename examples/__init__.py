"""Examples: ``python -m examples.figures``, ``.message_passing`` and ``.training`` make every picture again.

``.others`` compares tables of other groups with the theory, ``.finite_models`` simulations of models at finite D.
"""
