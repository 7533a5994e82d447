"""One run of a scenario: programs, actions, trace and judgment."""
