"""Sweeps: many runs that differ in hyperparameters and seeds, planned so that a killed sweep ends like any other."""
