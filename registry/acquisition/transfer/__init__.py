"""The transfer room: addresses in, verified files out, whatever the network does in between."""
