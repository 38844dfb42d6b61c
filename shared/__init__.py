"""What the deployed functions share. It ships with each of them.

Upper rooms know lower ones: ``loop`` → ``ledger``, ``cloud`` → ``rules`` → ``messages``.
"""

import time

STARTED = time.monotonic()
"""When this process began to load us, on its own clock: the SDKs, most of a cold start, come after it."""
