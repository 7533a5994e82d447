"""Charts: where each long-lived thing is and where it may go; and `StateRunner`, the one loop that runs them."""
