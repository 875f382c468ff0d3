"""Fifteen minutes of a GPU: speed, and a comparison of equal compute on real images; README.md says what to type."""
