"""Asking the gateway for a port: NAT-PMP, PCP and UPnP, raced."""
