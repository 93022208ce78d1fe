"""The libraries Office365-REST-Python-Client and O365 against a running presenced.

    PRESENCE_URL=http://localhost:8080 python test_libraries.py

Everything that they offer on presences, except for /me, which secure_libraries.py calls. Only the
base URL is specific to presenced.
"""

import os
import unittest
import uuid
from datetime import datetime, timedelta, timezone

import requests
from O365 import Account, MSGraphProtocol
from O365.utils.token import MemoryTokenBackend
from office365 import azure_env
from office365.graph_client import GraphClient
from office365.runtime.client_request_exception import ClientRequestException

URL = os.environ.get("PRESENCE_URL", "http://localhost:8080").replace("127.0.0.1", "localhost")
APP = "22553876-f5ab-4529-bffb-cfe50aa89f87"

azure_env._ENDPOINTS[azure_env.AzureEnvironment.Global]["graph"] = URL


class Protocol(MSGraphProtocol):
    _protocol_url = URL + "/"


class Tokens(MemoryTokenBackend):
    """A backend with a fixed token."""

    def __init__(self, token):
        super().__init__()
        self.token = token

    def get_access_token(self, *, username=None):
        return {"secret": self.token}

    def token_is_expired(self, *, username=None):
        return False


def rest_client(token="a.b.c"):
    return GraphClient(lambda: {"token_type": "Bearer", "access_token": token})


def teams(token="a.b.c"):
    """O365's object for presences, and a list of the header presence-ignored of each response."""
    account = Account(("client", "secret"), protocol=Protocol(), token_backend=Tokens(token))
    teams, ignored = account.teams(), []
    account.con.session = account.con.get_session()
    account.con.session.hooks["response"].append(
        lambda response, **_: ignored.append(response.headers.get("presence-ignored"))
    )
    return teams, ignored


class Libraries(unittest.TestCase):
    def setUp(self):
        self.client, self.id = rest_client(), str(uuid.uuid4())
        self.ignored = []
        self.client.pending_request().afterExecute += lambda response: self.ignored.append(
            response.headers.get("presence-ignored")
        )

    def presence(self):
        return self.client.users[self.id].presence

    def read(self):
        return self.presence().get().execute_query()

    def tearDown(self):
        # The service has ignored nothing that the library sent.
        self.assertFalse(any(self.ignored))

    def session(self):
        """The time from the set of the session to its expiry."""
        session = requests.get(f"{URL}/v1.0/users/{self.id}/presence/explain").json()["sessions"][0]
        times = (session[name][:23] for name in ("setDateTime", "expireDateTime"))
        start, end = (datetime.fromisoformat(time) for time in times)
        return end - start

    def test_a_session_lasts_as_long_as_it_says(self):
        self.presence().set_presence(APP, "Busy", "InACall", "PT1H").execute_query()
        self.assertEqual(self.session(), timedelta(hours=1))
        presence = self.read()
        self.assertEqual((presence.availability, presence.activity), ("Busy", "InACall"))
        self.presence().clear_presence(APP).execute_query()
        self.assertEqual(self.read().availability, "Offline")
        self.assertEqual(self.ignored, [None] * 4)

    def test_without_a_duration_the_default_applies(self):
        self.presence().set_presence(APP, "Available", "Available").execute_query()
        self.assertEqual(self.read().availability, "Available")
        self.assertEqual(self.session(), timedelta(minutes=5))

    def test_a_preferred_presence(self):
        self.presence().set_presence(APP, "Busy", "InACall", "PT1H").execute_query()
        for duration in [None, "PT8H"]:
            self.presence().set_user_preferred_presence("DoNotDisturb", "DoNotDisturb", duration).execute_query()
            self.assertEqual(self.read().activity, "DoNotDisturb")
        self.presence().clear_user_preferred_presence().execute_query()
        self.assertEqual(self.read().activity, "InACall")

    def test_a_status_message_and_its_end(self):
        self.presence().set_status_message("Hi").execute_query()
        self.assertEqual(self.read().status_message.message.content, "Hi")
        # The library takes the time for one in UTC, whatever its zone.
        ends = datetime.now(timezone.utc) + timedelta(hours=1)
        self.presence().set_status_message("Soon back", ends).execute_query()
        self.assertEqual(self.read().status_message.message.content, "Soon back")
        with self.assertRaises(ClientRequestException) as refused:
            self.presence().set_status_message("Late", ends - timedelta(hours=2)).execute_query()
        self.assertIn("dateTime", str(refused.exception))

    def test_many_presences(self):
        other = str(uuid.uuid4())
        presences = self.client.communications.get_presences_by_user_id([self.id, other]).execute_query()
        self.assertEqual([presence.id for presence in presences], [self.id, other])

    def test_a_batch(self):
        first, second = self.presence().get(), self.client.users["other"].presence.get()
        self.client.execute_batch()
        self.assertEqual((first.availability, second.availability), ("Offline", "Offline"))

    def test_o365_reads_a_presence(self):
        self.presence().set_presence(APP, "Busy", "InACall", "PT1H").execute_query()
        library, ignored = teams()
        presence = library.get_user_presence(user_id=self.id)
        self.assertEqual((presence.availability, presence.activity, ignored), ("Busy", "InACall", [None]))


if __name__ == "__main__":
    unittest.main()
