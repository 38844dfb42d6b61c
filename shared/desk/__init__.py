"""The desk: where people and their tools ask, decide and look, over HTTP. It records words, and holds no key to any account."""
