"""The simulation: the real programs on a virtual internet, in virtual time; every run repeats itself to the byte."""
