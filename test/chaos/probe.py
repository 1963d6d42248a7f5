#!/usr/bin/python3
"""Sends and receives datagrams, on one machine of a chaos run.

probe.py HOST PORT: prints "ready"; reads lines "HOST TEXT" on stdin and sends
TEXT there, to the same port; prints each text that it is sent. Ends with stdin.
"""
import selectors
import socket
import sys

BYTES_MAX = 100


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, port))
    wake = selectors.DefaultSelector()
    wake.register(sock, selectors.EVENT_READ)
    wake.register(0, selectors.EVENT_READ)
    print("ready", flush=True)
    orders = open(0, "rb", buffering=0)
    while True:
        for key, _ in wake.select():
            if key.fd == 0:
                line = orders.readline()
                if not line:
                    return
                to, text = line.split()
                sock.sendto(text, (to.decode(), port))
            else:
                print(sock.recv(BYTES_MAX).decode(), flush=True)


if __name__ == "__main__":
    main()
