"""One training, from its first batch to its files: batches, state, history, and what ends or interrupts it."""
