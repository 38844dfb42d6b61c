"""The message service (Simple Message Queue, formerly MNS): queues, topics and queue subscriptions.

``queues`` (with ``visibility`` and ``handles``), ``topics`` and ``store`` are the state machine, with time passed in;
``wire``, ``markup`` and ``drafts`` speak the protocol; ``operations`` holds one function per operation, which works
with a ``context``; ``receiving`` and ``publishing`` wait and retry in cloud time; ``service`` ties them to the local
cloud's kernel, and ``platform`` is how Function Compute gets at them.
"""
