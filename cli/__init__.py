"""The counter: `ecr-grants`, what an operator types. Thin over shared."""
