"""The node program: makes the parts of a node, each after those that it uses, and runs them. It decides nothing.

    addresses, peer table -> link -> sockets, TUN -> NAT discovery, port mappings -> announcer, circuits -> data plane
    -> peer connections -> server signals

Two circles are closed when the parts run: the link is given `server_signals`, the sockets are given `inbound`. The
facts that we announce share one notifier (`news`), for which the announcer waits.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import trio

from tunnel.crypto.network_keys import NetworkKeys
from tunnel.crypto.node_keys import NodeKeys
from tunnel.dataplane.circuit_table import CircuitTable
from tunnel.dataplane.flow_index import FlowIndex
from tunnel.dataplane.inbound import Inbound
from tunnel.dataplane.mux import Mux
from tunnel.dataplane.outbound import Exit, Outbound
from tunnel.machines.background import bare_errors
from tunnel.machines.notifier import Notifier
from tunnel.machines.stalls import Stalls
from tunnel.model.interface_kind import InterfaceKind
from tunnel.model.invite import Invite
from tunnel.model.settings import DEFAULT_TUN, NodeSettings
from tunnel.model.status import NodeStatus, PeerStatus
from tunnel.model.way import RELAY
from tunnel.nat.netcheck_report import NetcheckReport
from tunnel.network.interface_choice import InterfaceChoice
from tunnel.network.nat64_resolver import Nat64Resolver
from tunnel.network.ports import World
from tunnel.network.urls import ServerUrl
from tunnel.node.address_memory import AddressMemory
from tunnel.node.announcer import Announcer
from tunnel.node.circuits import Circuits
from tunnel.node.identity import load_identity
from tunnel.node.inboxes import Inboxes
from tunnel.node.lease import Lease
from tunnel.node.local_announcement import LocalAnnouncement
from tunnel.node.machine_watch import MachineWatch
from tunnel.node.name_holders import NameHolders
from tunnel.node.nat_discovery import NatDiscovery
from tunnel.node.netcheck import check_network
from tunnel.node.own_addresses import OwnAddresses
from tunnel.node.peer_changes import PeerChanges
from tunnel.node.peer_signals import Forgotten, PeerSignals
from tunnel.node.peer_table import PeerTable
from tunnel.node.pool_routes import PoolRoutes
from tunnel.node.port_mappings import PortMappings
from tunnel.node.punch_sockets import PunchSockets
from tunnel.node.server_admission import ServerAdmission
from tunnel.node.server_dial import configured_hosts, proxy_notes
from tunnel.node.server_link import ServerLink
from tunnel.node.server_signals import ServerSignals
from tunnel.node.status_report import StatusReport
from tunnel.node.tun_interface import Interface
from tunnel.node.udp_sockets import UdpSockets
from tunnel.peer.connection import PeerConnection
from tunnel.peer.context import PeerContext
from tunnel.peer.handshake_limit import HandshakeLimit
from tunnel.peer.ports import NodePorts
from tunnel.peer.probe_budget import ProbeBudget
from tunnel.riders.loop_guard import LoopGuard
from tunnel.riders.tun_plane import TunPlane
from tunnel.wire.records import APPLICATION

log = logging.getLogger(__name__)


class NodeProgram:
    """One node. `await run(...)` in a task; all else may be called meanwhile.

    Application datagrams wait in `inboxes`; `peer_changes` tells of each transition of a peer.
    """

    def __init__(self, settings: NodeSettings, invite: Invite, network: NetworkKeys, world: World) -> None:
        if not settings.udp:
            settings = replace(settings, relay_only=True, survey=False, port_mapping=False)
        self.settings = settings
        self.invite = invite
        url = ServerUrl.parse(invite.server)
        told_of_proxies = proxy_notes(world, url)
        self.identity = load_identity(world.store, world.entropy)
        self._lease = lease = Lease(world.store, network.network_id, self.identity.keys.id)
        self._nat64 = Nat64Resolver(world.resolver, world.interfaces, lambda: lease.addresses)
        self._world = world = replace(world, resolver=self._nat64)
        self.notifier = Notifier()
        """Notified when anything that `status` shows may have changed."""
        self._indices = FlowIndex(world.entropy)
        self.name_holders = NameHolders(world.store, network.network_id)
        self.peer_table = PeerTable(
            network.network_id, self.identity.keys.id, settings.name, self.name_holders, self.notifier
        )
        guard, tun = LoopGuard(), settings.tun or DEFAULT_TUN
        choice = InterfaceChoice(settings.interfaces, {InterfaceKind.KERNEL: world.devices, **world.userspace})
        pool = PoolRoutes(tun, lease, world.interfaces, self.peer_table, choice)
        pool.note_configured(configured_hosts(world, url))
        self._own = OwnAddresses(settings.address, lease, self.peer_table, pool, self.notifier)
        memory = AddressMemory()
        admission = ServerAdmission(
            invite,
            network,
            self.identity,
            world,
            settings.timings,
            self._own,
            memory,
            protocol_version=settings.protocol_version,
        )
        self._stalls = stalls = Stalls()
        self.link = ServerLink(admission, settings.timings, stalls, world.entropy)

        exits: dict[int, Exit] = {RELAY.socket: self.link.send_batch}
        is_guarded = InterfaceKind.KERNEL in settings.interfaces  # in a network of its own nothing goes round
        self.datagrams = UdpSockets(exits, guard if is_guarded else None)
        self.outbound = Outbound(exits, guard.note_record) if is_guarded else Outbound(exits)
        self.tun = TunPlane(self.peer_table.flow_of, lease.holds, guard, self.outbound, self.datagrams.unsent_bytes)
        self.interface = Interface(
            tun, settings.mtu, pool, self.notifier, timings=settings.timings, choice=choice, plane=self.tun
        )

        news = Notifier()
        self.nat_discovery = NatDiscovery(
            self.datagrams.sockets,
            self._nat64,
            world.interfaces,
            settings,
            datagrams=world.datagrams,
            entropy=world.entropy,
            news=news,
        )
        self.port_mappings = PortMappings(settings, self.identity, world, self.datagrams.sockets, news)
        self.local_announcement = LocalAnnouncement(
            settings,
            self.identity,
            self._lease,
            interface=self.interface,
            interfaces=world.interfaces,
            sockets=self.datagrams.sockets,
            nat_discovery=self.nat_discovery,
            port_mappings=self.port_mappings,
        )
        self.announcer = Announcer(
            self.identity,
            network,
            self.local_announcement,
            self.link,
            self.peer_table,
            news=news,
            timings=settings.timings,
            entropy=world.entropy,
        )
        circuit_table = CircuitTable()
        self.circuits = Circuits(
            settings.timings, self.datagrams, circuit_table, self.link, self.peer_table, self.nat_discovery
        )
        self._machine = MachineWatch(
            world,
            self.identity,
            self.peer_table,
            self._own,
            memory,
            announcer=self.announcer,
            circuits=self.circuits,
            link=self.link,
            port_mappings=self.port_mappings,
            nat_discovery=self.nat_discovery,
        )
        self._report = StatusReport(
            settings,
            invite,
            self.identity,
            self._own,
            self.peer_table,
            announcer=self.announcer,
            interface=self.interface,
            link=self.link,
            port_mappings=self.port_mappings,
            local_announcement=self.local_announcement,
            nat_discovery=self.nat_discovery,
            sockets=self.datagrams,
            proxy_notes=told_of_proxies,
        )
        self.peer_changes = PeerChanges(self._report, self.notifier)
        punch_sockets = PunchSockets(
            self.datagrams, self.nat_discovery, timings=settings.timings, entropy=world.entropy
        )
        self.inboxes = Inboxes(is_read=settings.keep_datagrams)
        mux = Mux(self.tun.deliver_untrusted, self.tun.send_answers)
        mux.take_data(APPLICATION, self.inboxes.deliver)
        self.inbound = Inbound(
            self._indices,
            mux,
            circuit_table,
            key_life=settings.timings.key_life,
            stun=(self.nat_discovery, punch_sockets),
            relay=self.circuits,
        )

        context = PeerContext(
            identity=self.identity,
            network=network.network_id,
            psk=network.psk,
            timings=settings.timings,
            stalls=stalls,
            clock=world.clock,
            entropy=world.entropy,
            mtu=settings.mtu,
            protocol_version=settings.protocol_version,
        )
        ports = NodePorts(
            server=self.link,
            announcement=self.announcer,
            datagrams=self.datagrams,
            punch_sockets=punch_sockets,
            indices=self._indices,
            overflows=self.inbound.overflows,
            outbound=self.outbound,
            circuits=self.circuits,
            traffic=guard,
            overlays=world.interfaces,
            watch=self._machine,
            names=self.name_holders,
            probe_budget=ProbeBudget(),
            handshake_limit=HandshakeLimit(),
        )
        self.peer_signals = PeerSignals(
            network,
            self.peer_table,
            self.inboxes,
            self._nat64,
            self.notifier,
            context=context,
            ports=ports,
            changes=self.peer_changes,
        )
        self.server_signals = ServerSignals(
            self._own,
            self._nat64,
            self.peer_table,
            self.notifier,
            announcer=self.announcer,
            circuits=self.circuits,
            inbound=self.inbound,
            nat_discovery=self.nat_discovery,
            peer_signals=self.peer_signals,
        )

    @property
    def keys(self) -> NodeKeys:
        """Our static keys."""
        return self.identity.keys

    @property
    def is_registered(self) -> bool:
        """Whether the link to the server stands."""
        return self.link.is_registered

    @property
    def addresses(self) -> tuple[str, ...]:
        """Our tunnel addresses: IPv6 always, IPv4 once leased."""
        return self._own.addresses

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Live until cancelled; then say farewell, in bounded time.

        Raises DeviceError before it has started and before anything is sent: a port that is taken, no privilege for a
        TUN interface, a name that is taken. Later: DeviceError when the interface vanishes, and Refused when the server
        refuses the very first registration for a reason that waiting does not cure.
        """
        try:
            if self.settings.udp:
                await self.datagrams.open(self._world.datagrams, self.settings.udp_port)
            self._own.look()
            await self.interface.open()
            self._own.look()  # in a network of its own, nothing that this machine has is in the way
            self._world.privileges.lay_down(self.interface.status.kind)
            with bare_errors():
                async with trio.open_nursery() as nursery:
                    services = trio.CancelScope(shield=True)
                    nursery.start_soon(self._serve, services)
                    task_status.started()
                    try:
                        await trio.sleep_forever()
                    finally:
                        with trio.move_on_after(self.settings.timings.leave_patience, shield=True):
                            await self._leave()
                        services.cancel()
        finally:
            self.datagrams.close()
            self.interface.close()

    async def _serve(self, services: trio.CancelScope) -> None:
        """All tasks of the node. The farewell needs them, so only cancelling this scope ends them."""
        with services:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.peer_signals.run)
                nursery.start_soon(self.datagrams.receive_all, self.inbound)
                nursery.start_soon(self.nat_discovery.run)
                nursery.start_soon(self.port_mappings.run)
                nursery.start_soon(self.announcer.run)
                nursery.start_soon(self.link.run, self.server_signals)
                nursery.start_soon(self.circuits.run)
                nursery.start_soon(self._stalls.run)
                nursery.start_soon(self.name_holders.run)
                nursery.start_soon(self._machine.run)
                nursery.start_soon(self.interface.run)

    async def _leave(self) -> None:
        for peer in self.peer_table:
            peer.say_farewell()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.port_mappings.leave)
            nursery.start_soon(self.link.leave)

    def status(self) -> NodeStatus:
        """A frozen view of everything."""
        return self._report.node()

    def peer_status(self, peer: PeerConnection) -> PeerStatus:
        """The status of its connection, with notes on what hinders it on this machine."""
        return self._report.peer(peer)

    async def check_network(self) -> NetcheckReport:
        """Everything that can be said about the network now."""
        return await check_network(
            self._world,
            self._nat64,
            self._own,
            link=self.link,
            local_announcement=self.local_announcement,
            nat_discovery=self.nat_discovery,
            port_mappings=self.port_mappings,
        )

    def forget(self, wanted: str) -> Forgotten:
        """Set a node's names free, and drop it if it is away. Raises PeerUnreachable if `wanted` names nobody."""
        forgotten = self.peer_signals.forget(wanted)
        self.name_holders.save()
        self.notifier.notify()
        return forgotten
