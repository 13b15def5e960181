"""HTTP only: each module turns requests into calls and answers into responses."""
