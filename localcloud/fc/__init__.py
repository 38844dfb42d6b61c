"""Function Compute: functions in worker processes of their own, set off by queues, timers, HTTP and the API.

``template`` reads s.yaml, ``deployment`` checks it against the world, ``pool`` and ``instances`` run the processes,
``streams``, ``timers`` and ``web`` are the triggers, ``tasks`` the asynchronous invocations, ``api`` the wire and
``service`` the whole. ``bootstrap`` runs inside the workers and ``reaper`` beside them.
"""
