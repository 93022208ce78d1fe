"""Follows the presence of users over gRPC: python watch.py ada bob"""

import asyncio
import os
import random
import sys

import grpc
from presence.v1.presence_pb2 import Activity, Availability
from presence.v1.presence_service_pb2 import WatchPresencesRequest
from presence.v1.presence_service_pb2_grpc import PresenceServiceStub

ADDRESS = os.environ.get("PRESENCE_ADDRESS", "localhost:50051")
# A stream that is silent for this time, in seconds, is broken.
SILENCE = 3 * int(os.environ.get("PRESENCE_HEARTBEAT", "15"))
PAUSE_MIN, PAUSE_MAX = 1, 30
# Otherwise all channels to one address share a connection.
OPTIONS = [("grpc.use_local_subchannel_pool", 1)]
FATAL = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED)


def metadata():
    """The access token, read before each stream: the last one may have expired."""
    if "PRESENCE_TOKEN_FILE" not in os.environ:
        return None
    with open(os.environ["PRESENCE_TOKEN_FILE"]) as file:
        return [("authorization", "Bearer " + file.read().strip())]


async def one_stream(user_ids):
    """Yields the messages of one stream, on a new connection: the last one may be broken.
    For TLS: secure_channel(ADDRESS, grpc.ssl_channel_credentials(), OPTIONS)."""
    async with grpc.aio.insecure_channel(ADDRESS, OPTIONS) as channel:
        request = WatchPresencesRequest(user_ids=user_ids)
        call = PresenceServiceStub(channel).WatchPresences(request, metadata=metadata())
        while (message := await asyncio.wait_for(call.read(), SILENCE)) is not grpc.aio.EOF:
            yield message


async def watch(user_ids):
    presences, pause = {}, PAUSE_MIN
    while True:
        try:
            async for message in one_stream(user_ids):
                event = message.WhichOneof("event")
                if event == "presence":
                    presence = message.presence
                    presences[presence.user_id] = presence
                    availability = Availability.Name(presence.availability)
                    print(presence.user_id, availability, Activity.Name(presence.activity), flush=True)
                elif event == "snapshot_complete":
                    print(f"-- snapshot complete: {len(presences)} users", flush=True)
                    pause = PAUSE_MIN
        except asyncio.TimeoutError:
            print("-- lost: silence", flush=True)
        except grpc.aio.AioRpcError as error:
            if error.code() in FATAL:
                sys.exit(f"{error.code().name}: {error.details()}")
            print(f"-- lost: {error.code().name}: {error.details()}", flush=True)
        # A random pause, so that clients do not return all at once.
        await asyncio.sleep(pause * random.uniform(0.5, 1))
        pause = min(2 * pause, PAUSE_MAX)


asyncio.run(watch(sys.argv[1:]))
