"""Tests, one folder a layer; modules mirror the names of what they test."""
