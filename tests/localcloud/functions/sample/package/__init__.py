"""A package in a code folder."""
