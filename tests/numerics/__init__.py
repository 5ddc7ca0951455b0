"""Tests of the numerical layer."""
