"""Studies of many simulated runs, compared with the oracle: pairs of NATs, a whole population, another tool."""
