"""What stands between this machine and the internet: survey, classification, candidates."""
