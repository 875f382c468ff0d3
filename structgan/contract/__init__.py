"""A new method: the files to start from, and the contract that every method keeps, as checks that say what is wrong."""
