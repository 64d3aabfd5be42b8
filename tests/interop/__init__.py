"""Networks on their way to other programs, and back."""
