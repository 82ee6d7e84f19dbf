"""The HTTP entrance, one module for each resource, reading and commanding apart."""
