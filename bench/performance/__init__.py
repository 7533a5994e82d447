"""How fast the tunnel is beside the bare path and beside other tunnels. Everything runs in network namespaces of its
own.

    python -m bench.performance                                   # as root: everything, five rounds; prints tables
    python -m bench.performance --only tcp-1,udp-64 --rounds 3    # some figures
    python -m bench.performance --peers bare,ours --seconds 3     # some peers
    python -m bench.performance --list                            # what there is
    python -m bench.performance --write                           # also docs/performance.md and its plots

A round measures every peer once, one after another, so that a machine that becomes slower slows all of them; each
figure is the median of the rounds, and each ratio is one of medians of one run. `figures/` has a file for each
figure, `peers/` one for each tunnel, `wires.py` the path between the two hosts. All raw values are kept as JSON
(`results.py`); tables, page and plots are made from it alone.
"""
