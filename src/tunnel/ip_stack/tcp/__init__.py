"""TCP without I/O: RFC 9293 with window scaling, timestamps, SACK, RACK-TLP, CUBIC and pacing.

One connection is one `TcpConnection` (connection.py). It knows no socket, no clock and no Trio: segments and the time
come in by its methods, and segments go out by `take_segments`. This is the whole interface for the stack around it:

    numbers = InitialNumberSource(secret)                         # one for each stack
    connection = TcpConnection.connect(local, remote, config, numbers.of(local, remote, now), now)
    ...
    connection.handle(decode_tcp(transport), now)                 # for each segment of its endpoints
    connection.handle_icmp(error, quoted_sequence, mtu)
    connection.timeout(now)                                       # at `deadline`, or later
    for segment in connection.take_segments(now, budget):         # after each of these, and after each call below
        header = encode_tcp(local.port, remote.port, *segment[:5])
    ...
    accepted = connection.send(data)                              # at most `send_room`; 0: try again when it has grown
    data = connection.receive(65536)                              # b"": nothing `readable` now; `eof` says whether ever
    connection.shutdown()                                         # FIN after all that was sent; receiving goes on
    connection.close() / connection.abort()
    connection.is_closed, connection.error                        # then the stack forgets it

The passive side: a `Listener` (listener.py) makes connections out of SYNs, keeps the bounded backlog, and hands over
those that are established. A segment for no connection and no listener is answered with `reset_for` (segments.py). A
SYN for a connection in TIME-WAIT that `yields_to` it goes to the listener; the old connection is forgotten.

    handle  -> arrival.py -> receiver.py  (receive_buffer.py, timestamps.py)
                          -> loss_recovery.py  (flight.py: send_buffer.py, scoreboard.py; rtt.py, rack.py,
                             loss_timers.py; congestion.py: cubic.py, hystart.py, pacing.py)
    take_segments -> sender.py, receiver.py
    all of one connection: control_block.py; where it is: machines/tcp_connection.py

Inside, sequence numbers are offsets from the initial one that never wrap (sequence.py): SYN is 0, data begins at 1.
"""
