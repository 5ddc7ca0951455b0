"""Examples. ``python -m examples.figures`` makes every picture of the README and the notes again."""
