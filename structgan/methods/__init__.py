"""Methods of this suite, found and run exactly like the files of ``baselines/``."""
