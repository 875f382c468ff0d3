"""Whether a file on disk is what the plan asks for: protocols, checksums, and file times that follow."""
