"""A peer-to-peer tunnel on Trio: relay first, direct when proven."""
