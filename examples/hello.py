"""Say hello to a peer from your own program, without any privilege: `python hello.py INVITE_FILE PEER`."""

import sys
from pathlib import Path

import trio

import tunnel


async def main(invite: str, peer_name: str) -> None:
    """Join, say hello, measure, leave: everything that the node starts ends with its block."""
    settings = tunnel.NodeSettings(state=Path("hello-state"), default_stun=False)  # keeps its key, name and address
    async with tunnel.open_node(invite=invite, name="hello", settings=settings) as node:
        print(f"waiting for {peer_name}, at most 30 s", file=sys.stderr)
        peer = await node.connect(peer_name)  # returns when data can flow: relayed or direct
        await peer.send_datagram(b"hello")
        state = await peer.wait_settled()  # connected, or relayed for good
        way = "direct" if state == "connected" else state
        print(f"{peer_name} is {way} and answers in {(await peer.ping()).rtt * 1000:.1f} ms")


if len(sys.argv) != 3:
    sys.exit("usage: python hello.py INVITE_FILE PEER")
try:
    trio.run(main, Path(sys.argv[1]).read_text(), sys.argv[2])
except (OSError, UnicodeError, tunnel.TunnelError) as error:
    sys.exit(f"hello.py: {error}")
