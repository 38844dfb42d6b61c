"""What is said: approvals come in, completions go out, and every error code has its words. Knows no other room."""
