"""What the deployed functions share. It ships with each of them.

Upper rooms know lower ones: ``loop`` → ``ledger``, ``cloud`` → ``rules`` → ``messages``.
"""

import gc
import time

# What imports make is no garbage, and looking for some of it again and again is a tenth of a cold start.
gc.set_threshold(50_000)

STARTED = time.monotonic()
"""When this process began to load us, on its own clock: the SDKs, most of a cold start, come after it."""
