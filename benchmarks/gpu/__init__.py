"""The real CIFAR-10 campaign on a GPU that is at hand for minutes at a time: pack, train, absorb, table."""
