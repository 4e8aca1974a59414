"""What OpenPRM's shortcuts save, each measured beside the plain way, in one run: `make bench`."""
