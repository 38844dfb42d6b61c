"""The function on a timer: it looks, compares and wakes; it changes nothing on the cloud."""
