"""The function for account B's side: approvals come in, the grant is made or taken back."""
