"""Shows a user as in a call until Enter is pressed, over gRPC:

python session.py refresh ada desk:call-1   sets the session, and refreshes it every two minutes
python session.py hold ada desk:call-1      holds the session by an open stream
"""

import asyncio
import os
import random
import sys
import threading

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from presence.v1.presence_pb2 import ACTIVITY_IN_A_CALL, AVAILABILITY_BUSY
from presence.v1.presence_service_pb2 import ClearPresenceRequest, HoldPresenceRequest, SetPresenceRequest
from presence.v1.presence_service_pb2_grpc import PresenceServiceStub

ADDRESS = os.environ.get("PRESENCE_ADDRESS", "localhost:50051")
REFRESH = float(os.environ.get("PRESENCE_REFRESH", "120"))  # seconds
# The service gives up after 2.8 s and says why. A shorter deadline only hides the reason.
DEADLINE = 3
# The service extends a session every 7.5 s with the default grace. A quieter stream is broken.
SILENCE = 15
PAUSE_MIN, PAUSE_MAX = 1, 30
# Otherwise all channels to one address share a connection.
OPTIONS = [("grpc.use_local_subchannel_pool", 1)]
FATAL = ("INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "FAILED_PRECONDITION", "UNIMPLEMENTED")


class Details:
    """The details of an error. An error of a proxy or of the network has none."""

    def __init__(self, error):
        self.code, self.reason, self.fields, delay = error.code().name, None, [], None
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                for detail in Status.FromString(value).details:
                    info, retry, request = ErrorInfo(), RetryInfo(), BadRequest()
                    if detail.Unpack(info):
                        self.reason = info.reason
                    elif detail.Unpack(retry):
                        delay = retry.retry_delay.ToTimedelta().total_seconds()
                    elif detail.Unpack(request):
                        self.fields = [violation.field for violation in request.field_violations]
        self.delay = delay
        self.text = f"{self.reason or self.code}: {error.details()}"

    def is_fatal(self):
        """Whether a retry fails again. RESOURCE_EXHAUSTED passes only if the service names a delay."""
        return self.code in FATAL or (self.code == "RESOURCE_EXHAUSTED" and self.delay is None)


class Pause:
    """The pause before a retry: the service's delay, or else longer each time."""

    def __init__(self):
        self.next = PAUSE_MIN

    async def wait(self, details, ended):
        pause, self.next = self.next, min(2 * self.next, PAUSE_MAX)
        if details.delay is not None:
            pause = details.delay
        # A random addition, so that clients do not return all at once.
        await wait(pause * random.uniform(1, 1.5), ended)


async def wait(seconds, ended):
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except asyncio.TimeoutError:
        pass


def metadata():
    """The access token, read before each call: the last one may have expired."""
    if "PRESENCE_TOKEN_FILE" not in os.environ:
        return None
    with open(os.environ["PRESENCE_TOKEN_FILE"]) as file:
        return [("authorization", "Bearer " + file.read().strip())]


async def call(method, request, ended):
    """Calls until the service responds, or until `ended`. Every write is safe to retry."""
    pause = Pause()
    while True:
        try:
            return await method(request, timeout=DEADLINE, metadata=metadata())
        except grpc.aio.AioRpcError as error:
            details = Details(error)
            if details.is_fatal():
                raise
            print(f"-- lost: {details.text}", flush=True)
        await pause.wait(details, ended)
        if ended.is_set():
            return None


async def refresh(stub, session, pair, ended):
    """Sets the session, and again every two minutes, because it expires after five."""
    request = SetPresenceRequest(**session, **pair)
    while not ended.is_set():
        if await call(stub.SetPresence, request, ended):
            print("-- set", flush=True)
        await wait(REFRESH, ended)
    await clear(stub, session)


async def hold(stub, session, pair, ended):
    """Holds the session. Another stream replaces a broken one within the grace of 15 s."""
    pause, request = Pause(), HoldPresenceRequest(**session, **pair)
    while not ended.is_set():
        try:
            # A new connection: the last one may be broken.
            async with grpc.aio.insecure_channel(ADDRESS, OPTIONS) as channel:
                stream = PresenceServiceStub(channel).HoldPresence(metadata=metadata())
                await stream.write(request)
                ending = asyncio.create_task(end(stream, ended))
                try:
                    while (event := await asyncio.wait_for(stream.read(), SILENCE)) is not grpc.aio.EOF:
                        expiry = getattr(event, event.WhichOneof("event")).expire_time
                        print(f"-- held until {expiry.ToJsonString()}", flush=True)
                        pause = Pause()
                    return  # The service has cleared the session.
                finally:
                    ending.cancel()
        except asyncio.TimeoutError:
            print("-- lost: silence", flush=True)
        except grpc.aio.AioRpcError as error:
            details = Details(error)
            if details.is_fatal():
                raise
            print(f"-- lost: {details.text}", flush=True)
            await pause.wait(details, ended)
    await clear(stub, session)


async def end(stream, ended):
    """Ends the client's side of the stream. The service then clears the session."""
    await ended.wait()
    await stream.done_writing()


async def clear(stub, session):
    try:
        await call(stub.ClearPresence, ClearPresenceRequest(**session), ended=asyncio.Event())
    except grpc.aio.AioRpcError as error:
        # The session has ended already, for example by the first try of this call.
        if error.code() != grpc.StatusCode.NOT_FOUND:
            raise


async def main(command, user_id, session_id):
    ended, loop = asyncio.Event(), asyncio.get_running_loop()

    def wait_for_enter():
        sys.stdin.readline()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait_for_enter, daemon=True).start()
    session = {"user_id": user_id, "session_id": session_id}
    pair = {"availability": AVAILABILITY_BUSY, "activity": ACTIVITY_IN_A_CALL, "observed_time": Timestamp()}
    # When the call began. With it, a refresh or a new stream cannot undo what was observed later.
    pair["observed_time"].GetCurrentTime()
    # For TLS: secure_channel(ADDRESS, grpc.ssl_channel_credentials(), OPTIONS).
    async with grpc.aio.insecure_channel(ADDRESS, OPTIONS) as channel:
        stub = PresenceServiceStub(channel)
        try:
            await (hold if command == "hold" else refresh)(stub, session, pair, ended)
            print("-- cleared", flush=True)
        except grpc.aio.AioRpcError as error:
            details = Details(error)
            sys.exit(f"-- failed: {details.text} {' '.join(details.fields)}")


asyncio.run(main(*sys.argv[1:]))
