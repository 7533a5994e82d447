"""Charts: where each long-lived thing is and where it may go; and `live`, the one loop that lives through a chart."""
