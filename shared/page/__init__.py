"""The page: the desk's face for people, made on the server from the use cases and the read model of the API."""
