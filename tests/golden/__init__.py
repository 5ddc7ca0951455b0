"""Golden values: what the program computed before, and must go on computing.

`data/` was written by the program at the revision that `data/provenance.json` names, through the public front door
(`iclglass`, ``python -m iclglass``) alone. `test_golden.py` computes the same with the present program and compares. A
value that changes fails, with the quantity, the point and both values.

They do not say that a number is right (the other tests do, by a second road); they say that it is the same. So they
catch what a change was not meant to do.

When data may be written again: never to make a test pass. A number that is meant to change is listed in
`expected_changes.py` with the reason, and what shows the new number to be right is a test of its own. Only when a
round of work is finished, and every entry of that list is accounted for, is the whole set made again, by

    python -m tests.golden.write OUTDIR

with OUTDIR = tests/golden/data, from a commit without changes; the list is then emptied in the same commit. The same
command runs on an older program: in a folder that holds only a link `tests` to this checkout's, with PYTHONPATH set
to the older checkout.

Modules: `table` (values at points), `theory`, `data_sets`, `simulations` (what is computed, as tables), `commands`
(what is computed, as the JSON of commands), `sections` (the list of all, with tolerances), `compare`, `write`.
"""
