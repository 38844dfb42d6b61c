"""What the deployed functions share. It ships with each of them.

Upper rooms know lower ones: ``loop`` → ``ledger``, ``cloud`` → ``rules`` → ``messages``.
"""
