"""Signing in: RAM's OAuth applications as an OpenID Connect provider (channels.md section 1).

``service`` speaks HTTP, ``grants`` remembers what was given out, ``people`` knows who can be chosen, ``keys`` signs,
``page`` is what a browser shows. The real provider's hosts (``oauth`` for programs, ``signin`` for browsers) are one
address here, with the real paths.
"""
