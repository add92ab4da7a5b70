"""What both examples need of gRPC: a stub, and calls that end with an answer."""

import os
import random
import time

import grpc

# Made of the .proto by `python3 -m grpc_tools.protoc`: docs/quickstart-platform.md has the command.
from tidegate.v1 import service_pb2_grpc
from tidegate.v1 import tidegate_pb2 as tg


def connect(server="127.0.0.1:7413"):
    """TLS when TIDEGATE_CA names the authority that the server's certificate is from."""
    ca = os.environ.get("TIDEGATE_CA")
    if not ca:
        return service_pb2_grpc.TidegateServiceStub(grpc.insecure_channel(server))
    with open(ca, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    return service_pb2_grpc.TidegateServiceStub(grpc.secure_channel(server, credentials))


def metadata():
    """The token of the caller, when the server asks for one."""
    token = os.environ.get("TIDEGATE_TOKEN")
    return [("authorization", f"Bearer {token}")] if token else []


# What a network does: the request may have been done, or not.
UNKNOWN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED}
# BUSY: nothing was done. Its RetryInfo asks for some milliseconds, which no pause here is below.
BUSY = grpc.StatusCode.RESOURCE_EXHAUSTED


def busy(request):
    """The answer that says so; what the native protocol answers."""
    return getattr(tg, type(request).__name__.replace("Request", "Response"))(verdict=tg.VERDICT_BUSY)


def until_answered(method, request, patience_s):
    """Sends a request that is safe to repeat until it is answered: after a lost connection, a restart of the
    server, and BUSY, with pauses that grow and are not the same for all. When patience ends it is BUSY if
    every try was; else the last error is raised, and nobody knows."""
    end = time.monotonic() + patience_s
    known, pause = True, 0.02
    while True:
        try:
            return method(request, timeout=min(end - time.monotonic(), 5), metadata=metadata())
        except grpc.RpcError as error:
            if error.code() in UNKNOWN:
                known = False
            elif error.code() != BUSY:
                raise
            wait = pause * random.uniform(0.5, 1.5)
            if time.monotonic() + wait > end:
                if known:
                    return busy(request)
                raise
        time.sleep(wait)
        pause = min(2 * pause, 1)


def verdict_name(verdict):
    return tg.Verdict.Name(verdict).removeprefix("VERDICT_")
