"""Objectives as pure functions of tensors: no module, no device, no configuration."""
