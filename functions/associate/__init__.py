"""The function for account A's side: completions come in, the association is made or taken away."""
