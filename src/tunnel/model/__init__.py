"""Values, settings, timings, reasons and errors, which every other floor uses. Standard library only."""
