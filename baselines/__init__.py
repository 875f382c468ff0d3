"""Baselines: one file, one method, found by its stem. See README.md beside this file."""
