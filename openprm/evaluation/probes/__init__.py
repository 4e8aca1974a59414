"""What is measured beside a benchmark's own arithmetic: biases, attacks, calibration."""
