"""A service manager that only listens: prints each datagram as a line, its lines joined by '|', until
one says STOPPING. usage: manager.py SOCKET"""
import socket
import sys

manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(sys.argv[1])
print("listening", flush=True)
told = ""
while "STOPPING=1" not in told:
    told = manager.recv(4096).decode().replace("\n", "|")
    print(told, flush=True)
