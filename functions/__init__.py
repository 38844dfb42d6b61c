"""The handlers: one module per deployed function, each nearly empty."""
