"""The handlers: one folder per deployed function, each nearly empty."""
