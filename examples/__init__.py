"""Examples: ``python -m examples.figures`` and ``python -m examples.message_passing`` make every picture again."""
