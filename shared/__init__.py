"""The workshop: what the deployed functions share. It ships with each of them."""
