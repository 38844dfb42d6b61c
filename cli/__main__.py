"""`python -m cli` is `ecr-grants`."""

from cli.main import app

app()
