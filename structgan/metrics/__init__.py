"""Metrics as pure functions: features → statistics → number. Each number is returned with its protocol."""
