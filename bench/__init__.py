"""Measurements: how long things take, beside what, on which machine. Results lie in bench/results."""
