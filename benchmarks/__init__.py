"""Speed, side by side: what the suite does against the same thing in its plainest or its usual form."""
