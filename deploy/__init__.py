"""What surrounds the functions on the platform. Nothing here ships with them."""
