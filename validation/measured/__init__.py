"""Measurements of others, or a user's own, in a table, against the theory at their size.

names        what a column of the table may be called, and what it means
table        the table as it was given, its columns by meaning
measurement  what each row measured, at which parameters, with which error
predicted    the theory of every row
comparison   the verdict with its power, in numbers, words and a table
compare      all of it
"""
