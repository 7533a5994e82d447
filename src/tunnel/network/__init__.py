"""The ports to the world, and the real thing behind each: nothing above imports socket, ssl or a device."""
