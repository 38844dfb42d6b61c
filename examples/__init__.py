"""Files to copy, and the scripts that play with them on the local cloud. They use the SDKs and addresses alone."""
