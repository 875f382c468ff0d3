"""Where a suite stands, for a person: the state of each cell, the queue, one screen, and what may be removed."""
