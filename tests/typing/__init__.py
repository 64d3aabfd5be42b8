"""Programs of users, which mypy reads as a user's mypy would."""
