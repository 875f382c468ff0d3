"""Networks: nn.Modules that know no loss, no device and no configuration object."""
