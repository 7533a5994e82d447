"""Values, settings, timings, reasons and errors: the words that every other floor speaks. Standard library only."""
