"""Prints every UDP payload (hex, one a line) that passes an interface from or to the discovery port; `ready` first."""

import socket
import sys

from syncfs.transport.datagram import LAN_PORT

ETH_P_ALL = 3


def payload(packet: bytes) -> bytes | None:
    """The UDP payload of an IPv4 or IPv6 packet of ours."""
    version = packet[0] >> 4
    start = (packet[0] & 15) * 4 if version == 4 else 40
    protocol = packet[9] if version == 4 else packet[6]
    ports = (int.from_bytes(packet[start : start + 2]), int.from_bytes(packet[start + 2 : start + 4]))
    return packet[start + 8 :] if protocol == socket.IPPROTO_UDP and LAN_PORT in ports else None


def main(interface: str) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as ear:
        ear.bind((interface, ETH_P_ALL))
        print("ready", flush=True)
        while True:
            packet = ear.recv(2048)
            if packet and packet[0] >> 4 in (4, 6) and (found := payload(packet)):
                print(found.hex(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
