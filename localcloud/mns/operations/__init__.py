"""One function per operation: what it checks, what it does, what it answers (mns.md sections 2 and 3).

Each runs inside ``Cloud.perform``, raises a Refusal before it changes anything, and returns a Reply. ``table`` names
them and the permissions that they need.
"""
