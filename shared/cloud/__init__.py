"""What touches the cloud: the only room that imports a vendor SDK. Vendor errors end here."""

from shared.cloud.lazy import install

install()
