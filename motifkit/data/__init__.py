"""Data: simulation with ground truth, preparation of real sequences, and the data set they become."""
