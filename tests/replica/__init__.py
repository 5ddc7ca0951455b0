"""Tests of the symbolic layer."""
