"""The node program: composes survey, server link, announcement, peers, carriers and control socket."""
