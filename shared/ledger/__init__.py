"""What is remembered: leases, grants (both sides as last read), intents, events, outbox.

``transactions`` has the one way in, ``Ledger``. Everything else is plain functions over a connection, in modules by what
changes together: ``admission`` and ``passing`` (of time) change leases; ``work`` and ``intents`` serve who is at a side;
``outcomes`` ends it; ``drift`` and ``operating`` are the timer's and the operator's; ``record``, ``outbox`` and ``proof`` keep
the chain of events; ``schema`` and ``migrations`` make the ``tables``.
"""
