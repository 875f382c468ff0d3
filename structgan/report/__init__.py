"""Tables, figures and the page of a suite: pure functions of the runs' JSON files. Nothing here imports torch."""
