"""The doors: one folder per deployed function, each nearly empty."""
