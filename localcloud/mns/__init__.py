"""The message service (Simple Message Queue, formerly MNS): queues, topics and queue subscriptions.

``queues``, ``topics`` and ``store`` are the state machine, with time passed in; ``wire`` and ``markup`` speak the
protocol; ``operations`` holds one function per operation; ``receiving`` and ``publishing`` wait and retry in cloud
time; ``service`` ties them to the local cloud's kernel, and ``platform`` is how Function Compute gets at them.
"""
