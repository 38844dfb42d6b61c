"""Function Compute: functions in worker processes of their own, set off by queues, timers, HTTP and the API.

``template`` reads s.yaml and ``deployment`` checks it against the world. ``pool`` keeps the ``instances``, of which
``python_instances`` and ``custom_instances`` are the two kinds, in ``processes`` of the machine. ``streams``,
``timers`` and ``web`` are the triggers, ``tasks`` the asynchronous invocations, ``api`` the wire and ``service`` the
whole. ``bootstrap`` runs inside the workers, ``forkserver`` gives birth to them and ``reaper`` ends those left over.
"""
