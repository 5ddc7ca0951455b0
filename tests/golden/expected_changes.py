"""What is meant to differ from the golden values, and why: the only place where a difference is allowed.

A key is a path, `section.quantity` of a table or `commands.NAME.KEY...` of a command's JSON; `*` stands for anything.
A removed key is listed as `commands.NAME.KEY`. An entry that nothing differs at is an error, so none outlives its use.
"""

EXPECTED_CHANGES: dict[str, str] = {}
