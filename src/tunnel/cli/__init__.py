"""The `p2ptunnel-trio` command."""
