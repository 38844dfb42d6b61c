"""The gate: the only room that imports a vendor SDK. Vendor errors end here."""

from shared.cloud.messaging import Messaging
from shared.cloud.network import AssociationSeen, Cloud, SpokeSeen, Trail
from shared.cloud.sessions import Keys, home_keys

__all__ = ["AssociationSeen", "Cloud", "Keys", "Messaging", "SpokeSeen", "Trail", "home_keys"]
