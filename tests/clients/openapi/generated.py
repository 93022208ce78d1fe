"""Calls the service with the client that openapi-generator made of its document (generator python).

Prints "passed" at the end. PRESENCE_URL, PRESENCE_USER, and the tokens of the user and of an application
are in the environment.
"""

import os
from datetime import datetime, timedelta, timezone

from openapi_client import ApiClient, ApiException, Configuration
from openapi_client.api import BatchApi, CommunicationsApi, MeApi, UsersApi
from openapi_client.models import (
    BatchItem,
    BatchRequest,
    ClearPresenceRequest,
    Error,
    GetPresencesByUserIdRequest,
    DateTimeTimeZoneRequest,
    ItemBodyRequest,
    StatusMessageRequest,
    SetPresenceRequest,
    SetStatusMessageRequest,
    SetUserPreferredPresenceRequest,
)

USER = os.environ["PRESENCE_USER"]
SESSION = os.environ["PRESENCE_APP"]


def client(token):
    host = os.environ["PRESENCE_URL"] + "/v1.0"
    return ApiClient(Configuration(host=host, access_token=os.environ[token]))


def refused(call, status, code):
    """Checks that the call fails so. Returns the error."""
    try:
        call()
    except ApiException as refusal:
        error = Error.from_json(refusal.body).error
        assert (refusal.status, error.code) == (status, code), (refusal.status, error)
        return error
    raise AssertionError(f"no error {status}")


application, user = client("PRESENCE_APP_TOKEN"), client("PRESENCE_TOKEN")
users, communications, me = UsersApi(application), CommunicationsApi(application), MeApi(user)

# A session.
session = SetPresenceRequest(
    session_id=SESSION,
    availability="DoNotDisturb",
    activity="Presenting",
    expiration_duration="PT1H",
    observed_date_time=datetime.now(timezone.utc) - timedelta(seconds=1),
)
users.set_presence(USER, session)
for presence in [
    users.get_presence(USER),
    communications.get_presence_by_id(USER),
    me.get_presence_of_me(),
    communications.batch_get_presences(GetPresencesByUserIdRequest(ids=[USER])).value[0],
    communications.list_presences(top=10).value[0],
]:
    assert (presence.id, presence.availability, presence.activity) == (USER, "DoNotDisturb", "Presenting"), presence
    assert presence.work_location.source == "none" and presence.status_message is None, presence
assert communications.count_presences() == "1"
assert users.get_presence(USER, select=["availability", "lastChangeDateTime"]).last_change_date_time

# A pair that is not allowed.
wrong = SetPresenceRequest(session_id=SESSION, availability="Available", activity="InACall")
error = refused(lambda: users.set_presence(USER, wrong), 400, "InvalidArgument")
assert error.details and error.inner_error.request_id, error

# The user.
described = me.get_me()
assert (described.id, described.display_name, described.mail) == (USER, "Megan Bowen", None), described
assert me.get_me(select=["id"]).display_name is None
ends = (datetime.now(timezone.utc) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")
message = StatusMessageRequest(
    message=ItemBodyRequest(content="In the workshop", content_type="text"),
    expiry_date_time=DateTimeTimeZoneRequest(date_time=ends, time_zone="UTC"),
)
me.set_status_message_of_me(SetStatusMessageRequest(status_message=message))
shown = me.get_presence_of_me().status_message
assert shown.message.content == "In the workshop", shown
assert shown.expiry_date_time.date_time.startswith(ends) and shown.published_date_time, shown
me.set_user_preferred_presence_of_me(SetUserPreferredPresenceRequest(availability="Offline", activity="OffWork"))
assert me.get_presence_of_me().activity == "OffWork"
me.clear_user_preferred_presence_of_me()

# A batch, and the extensions.
items = [
    BatchItem(id="1", method="GET", url="/me"),
    BatchItem(id="2", method="POST", url="/me/presence/clearPresence", body={"sessionId": "undefined"}),
]
responses = BatchApi(user).batch(BatchRequest(requests=items)).responses
assert [response.status for response in responses] == [200, 400], responses
assert responses[0].body["displayName"] == "Megan Bowen", responses
assert users.explain_presence(USER).sessions[0].session_id == SESSION
assert len(users.list_presence_history(USER).value) >= 2

clear = ClearPresenceRequest(session_id=SESSION)
users.clear_presence(USER, clear)
refused(lambda: users.clear_presence(USER, clear), 404, "NotFound")
assert users.get_presence(USER).availability == "Offline"
print("passed")
