"""The NAT between this machine and the internet: survey, behavior discovery, candidates, gateways."""
