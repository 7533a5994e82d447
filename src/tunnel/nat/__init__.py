"""The NAT between this machine and the internet: survey, behaviour discovery, candidates, gateways."""
