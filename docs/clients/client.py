"""Sets and reads a presence until Enter is pressed: python client.py ADDRESS,ADDRESS"""

import pathlib
import sys
import threading
import time

import grpc
from presence.v1.presence_pb2 import ACTIVITY_IN_A_CALL, AVAILABILITY_BUSY
from presence.v1.presence_service_pb2 import GetPresenceRequest, SetPresenceRequest
from presence.v1.presence_service_pb2_grpc import PresenceServiceStub

SERVICE_CONFIG = pathlib.Path(__file__).with_name("service-config.json").read_text()


def connect(addresses):
    """A channel to all replicas. With DNS, the target is "dns:///presence.example.com:50051". For TLS:
    secure_channel(target, grpc.ssl_channel_credentials(), options)."""
    options = [
        ("grpc.service_config", SERVICE_CONFIG),
        # Otherwise the authority is the whole list, which is not a valid one: every call fails.
        ("grpc.default_authority", "presence"),
        # Otherwise all channels to the same target share one connection.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        # Otherwise a lost replica is tried again after up to 2 minutes.
        ("grpc.max_reconnect_backoff_ms", 5_000),
    ]
    return grpc.insecure_channel("ipv4:" + addresses, options)


def call(client):
    """Sets and reads a presence."""
    session = SetPresenceRequest(
        user_id="ada",
        session_id="desk:call-1",
        availability=AVAILABILITY_BUSY,
        activity=ACTIVITY_IN_A_CALL,
    )
    client.SetPresence(session, timeout=10)
    client.GetPresence(GetPresenceRequest(user_id="ada"), timeout=10)


def main():
    client = PresenceServiceStub(connect(sys.argv[1]))
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), ended.set()), daemon=True).start()
    calls = failed = 0
    while not ended.is_set():
        try:
            call(client)
        except grpc.RpcError as error:
            failed += 1
            print(f"-- failed: {error.code().name}: {error.details()}", flush=True)
        calls += 1
        if calls % 100 == 0:
            print(f"-- calls: {calls}", flush=True)
        time.sleep(0.005)
    print(f"-- ended: {calls} calls, {failed} failed", flush=True)


main()
