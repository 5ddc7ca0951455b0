"""Tests of the front door: command line, public names, packaging."""
