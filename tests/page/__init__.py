"""The page, over HTTP as a browser asks for it."""
