"""Port mappings from the gateway, by NAT-PMP, PCP and UPnP at once."""
