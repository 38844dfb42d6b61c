"""The message service (Simple Message Queue, formerly MNS): queues, topics and queue subscriptions.

``queues``, ``topics`` and ``store`` are the state machine, with time handed in; ``wire`` and ``markup`` speak the
protocol; ``operations`` holds one function per operation; ``service`` ties them to the local cloud's kernel.
"""

from localcloud.mns.service import Delivered, MnsService

__all__ = ["Delivered", "MnsService"]
