"""The official Graph SDK for Python (msgraph-sdk) against a running presenced.

    PRESENCE_URL=http://localhost:8080 python test_msgraph.py

Every operation that the SDK offers on presences. Only the adapter is specific to presenced.
"""

import os
import unittest
import uuid
from datetime import timedelta

from azure.core.credentials import AccessToken
from kiota_abstractions.base_request_configuration import RequestConfiguration
from kiota_authentication_azure.azure_identity_authentication_provider import (
    AzureIdentityAuthenticationProvider,
)
from msgraph import GraphServiceClient
from msgraph.generated.communications.get_presences_by_user_id.get_presences_by_user_id_post_request_body import (
    GetPresencesByUserIdPostRequestBody,
)
from msgraph.generated.communications.presences.presences_request_builder import PresencesRequestBuilder
from msgraph.generated.models.body_type import BodyType
from msgraph.generated.models.date_time_time_zone import DateTimeTimeZone
from msgraph.generated.models.item_body import ItemBody
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.presence import Presence
from msgraph.generated.models.presence_status_message import PresenceStatusMessage
from msgraph.generated.models.work_location_source import WorkLocationSource
from msgraph.generated.models.work_location_type import WorkLocationType
from msgraph.generated.users.item.presence.clear_presence.clear_presence_post_request_body import (
    ClearPresencePostRequestBody,
)
from msgraph.generated.users.item.presence.presence_request_builder import PresenceRequestBuilder
from msgraph.generated.users.item.presence.set_automatic_location.set_automatic_location_post_request_body import (
    SetAutomaticLocationPostRequestBody,
)
from msgraph.generated.users.item.presence.set_manual_location.set_manual_location_post_request_body import (
    SetManualLocationPostRequestBody,
)
from msgraph.generated.users.item.presence.set_presence.set_presence_post_request_body import (
    SetPresencePostRequestBody,
)
from msgraph.generated.users.item.presence.set_status_message.set_status_message_post_request_body import (
    SetStatusMessagePostRequestBody,
)
from msgraph.generated.users.item.presence.set_user_preferred_presence.set_user_preferred_presence_post_request_body import (
    SetUserPreferredPresencePostRequestBody,
)
from msgraph.graph_request_adapter import GraphRequestAdapter
from msgraph_core.requests.batch_request_content import BatchRequestContent
from msgraph_core.requests.batch_request_item import BatchRequestItem

URL = os.environ.get("PRESENCE_URL", "http://localhost:8080").replace("127.0.0.1", "localhost")
APP = "22553876-f5ab-4529-bffb-cfe50aa89f87"


class Token:
    """A credential like those of azure-identity, with a fixed token."""

    def __init__(self, token):
        self.token = token

    def get_token(self, *scopes, **_):
        return AccessToken(self.token, 2**31)


def client(token="a.b.c"):
    # The adapter: the service's address, and the hosts that receive the token.
    provider = AzureIdentityAuthenticationProvider(Token(token), scopes=["presence/.default"], allowed_hosts=["localhost"])
    adapter = GraphRequestAdapter(provider)
    adapter.base_url = f"{URL}/v1.0"
    return GraphServiceClient(request_adapter=adapter)


def session(availability="Busy", activity="InACall", duration=None):
    return SetPresencePostRequestBody(
        session_id=APP, availability=availability, activity=activity, expiration_duration=duration
    )


class Msgraph(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.client = client()
        # A new user for each test.
        self.id = str(uuid.uuid4())
        self.roots = [
            self.client.users.by_user_id(self.id).presence,
            self.client.communications.presences.by_presence_id(self.id),
        ]

    async def shown(self):
        presence = await self.client.users.by_user_id(self.id).presence.get()
        return f"{presence.availability}/{presence.activity}"

    async def refused(self, call, status, code):
        with self.assertRaises(ODataError) as raised:
            await call
        self.assertEqual((raised.exception.response_status_code, raised.exception.error.code), (status, code))
        self.assertTrue(raised.exception.error.message)
        self.assertTrue(raised.exception.error.inner_error.request_id)
        return raised.exception.error

    async def test_the_snippet_of_the_original_document(self):
        graph_client = self.client
        await graph_client.users.by_user_id(self.id).presence.set_presence.post(session())

        request_body = ClearPresencePostRequestBody(
            session_id="22553876-f5ab-4529-bffb-cfe50aa89f87",
        )

        await graph_client.users.by_user_id(self.id).presence.clear_presence.post(request_body)

        self.assertEqual(await self.shown(), "Offline/Offline")
        clear = graph_client.users.by_user_id(self.id).presence.clear_presence.post(request_body)
        await self.refused(clear, 404, "NotFound")

    async def test_set_get_and_clear_at_every_path(self):
        for presence in self.roots:
            await presence.set_presence.post(session())
            read = await presence.get()
            self.assertIsInstance(read, Presence)
            self.assertEqual((read.id, read.availability, read.activity), (self.id, "Busy", "InACall"))
            self.assertFalse(read.out_of_office_settings.is_out_of_office)
            self.assertIsNone(read.status_message)
            self.assertTrue(read.sequence_number.startswith("A"))
            self.assertEqual(read.work_location.source, WorkLocationSource.None_)
            await presence.clear_presence.post(ClearPresencePostRequestBody(session_id=APP))
            self.assertEqual(await self.shown(), "Offline/Offline")

    async def test_durations_as_timedelta_and_as_text(self):
        presence = self.roots[0]
        for duration in (timedelta(hours=1), timedelta(minutes=5), "PT1H", "PT90M"):
            await presence.set_presence.post(session(duration=duration))
        error = await self.refused(presence.set_presence.post(session(duration=timedelta(days=1))), 400, "InvalidArgument")
        self.assertEqual(error.details[0].target, "expirationDuration")
        preferred = SetUserPreferredPresencePostRequestBody(
            availability="Busy", activity="Busy", expiration_duration=timedelta(days=1)
        )
        await presence.set_user_preferred_presence.post(preferred)

    async def test_preferred_presence(self):
        for presence in self.roots:
            await presence.set_presence.post(session())
            preferred = SetUserPreferredPresencePostRequestBody(
                availability="DoNotDisturb", activity="DoNotDisturb", expiration_duration=timedelta(hours=8)
            )
            await presence.set_user_preferred_presence.post(preferred)
            self.assertEqual(await self.shown(), "DoNotDisturb/DoNotDisturb")
            await presence.clear_user_preferred_presence.post()
            await presence.clear_user_preferred_presence.post()
            self.assertEqual(await self.shown(), "Busy/InACall")
            only_of_sessions = SetUserPreferredPresencePostRequestBody(availability="Busy", activity="InACall")
            error = await self.refused(
                presence.set_user_preferred_presence.post(only_of_sessions), 400, "InvalidArgument"
            )
            self.assertIn("Offline / OffWork", error.message)

    async def test_status_message(self):
        for presence in self.roots:
            message = PresenceStatusMessage(
                message=ItemBody(content="Hey I'm currently in a meeting.", content_type=BodyType.Text),
                expiry_date_time=DateTimeTimeZone(
                    date_time="2040-10-18T17:05:33.2079781", time_zone="Pacific Standard Time"
                ),
            )
            await presence.set_status_message.post(SetStatusMessagePostRequestBody(status_message=message))
            read = (await presence.get()).status_message
            self.assertEqual(read.message.content, "Hey I'm currently in a meeting.")
            self.assertEqual(read.message.content_type, BodyType.Text)
            # Only the user's own token reads these.
            self.assertIsNone(read.expiry_date_time)
            self.assertIsNone(read.published_date_time)
            message.message.content_type = BodyType.Html
            html = presence.set_status_message.post(SetStatusMessagePostRequestBody(status_message=message))
            await self.refused(html, 400, "InvalidArgument")
            message.message = ItemBody(content="", content_type=BodyType.Text)
            await presence.set_status_message.post(SetStatusMessagePostRequestBody(status_message=message))
            self.assertIsNone((await presence.get()).status_message)

    async def test_work_location(self):
        place = "eb706f15-137e-4722-b4d1-b601481d9251"
        for presence in self.roots:
            await presence.set_automatic_location.post(
                SetAutomaticLocationPostRequestBody(work_location_type=WorkLocationType.Remote)
            )
            location = (await presence.get()).work_location
            self.assertEqual((location.source, location.work_location_type), (WorkLocationSource.Automatic, WorkLocationType.Remote))
            await presence.set_manual_location.post(
                SetManualLocationPostRequestBody(work_location_type=WorkLocationType.Office, place_id=place)
            )
            location = (await presence.get()).work_location
            self.assertEqual((location.source, location.place_id), (WorkLocationSource.Manual, place))
            await presence.clear_automatic_location.post()
            self.assertEqual((await presence.get()).work_location.source, WorkLocationSource.Manual)
            await presence.clear_location.post()
            location = (await presence.get()).work_location
            self.assertEqual(location.source, WorkLocationSource.None_)
            self.assertEqual(location.work_location_type, WorkLocationType.Unspecified)

    async def test_get_presences_by_user_id(self):
        await self.roots[0].set_presence.post(session())
        body = GetPresencesByUserIdPostRequestBody(ids=[self.id, "66825e03-7ef5-42da-9069-724602c31f6b"])
        presences = (await self.client.communications.get_presences_by_user_id.post(body)).value
        self.assertEqual([presence.availability for presence in presences], ["Busy", "Offline"])
        many = GetPresencesByUserIdPostRequestBody(ids=[str(number) for number in range(651)])
        error = await self.refused(
            self.client.communications.get_presences_by_user_id.post(many), 400, "InvalidArgument"
        )
        self.assertIn("650", error.message)

    async def test_select(self):
        parameters = PresenceRequestBuilder.PresenceRequestBuilderGetQueryParameters(select=["availability"])
        await self.roots[0].set_presence.post(session())
        read = await self.roots[0].get(request_configuration=RequestConfiguration(query_parameters=parameters))
        self.assertEqual((read.availability, read.activity, read.id), ("Busy", None, None))

    async def test_list_and_count(self):
        await self.roots[0].set_presence.post(session())
        presences = self.client.communications.presences
        parameters = PresencesRequestBuilder.PresencesRequestBuilderGetQueryParameters(top=1)
        page = await presences.get(request_configuration=RequestConfiguration(query_parameters=parameters))
        ids = [presence.id for presence in page.value]
        while page.odata_next_link:
            page = await presences.with_url(page.odata_next_link).get()
            ids += [presence.id for presence in page.value]
        self.assertIn(self.id, ids)
        self.assertEqual(ids, sorted(set(ids)))
        self.assertEqual(await presences.count.get(), len(ids))

    async def test_unsupported_methods_are_405(self):
        for presence in self.roots:
            await self.refused(presence.patch(Presence(availability="Busy")), 405, "MethodNotAllowed")
            await self.refused(presence.delete(), 405, "MethodNotAllowed")
        await self.refused(self.client.communications.presences.post(Presence()), 405, "MethodNotAllowed")

    async def test_me_without_a_user_is_401(self):
        await self.refused(self.client.me.presence.get(), 401, "InvalidAuthenticationToken")
        await self.refused(self.client.me.presence.set_presence.post(session()), 401, "InvalidAuthenticationToken")

    async def test_batch(self):
        presence = self.roots[0]
        set_item = BatchRequestItem(presence.set_presence.to_post_request_information(session()))
        get_item = BatchRequestItem(presence.to_get_request_information(), depends_on=[set_item])
        content = BatchRequestContent()
        content.add_request(set_item.id, set_item)
        content.add_request(get_item.id, get_item)
        clear = ClearPresencePostRequestBody(session_id="another")
        clear_item = BatchRequestItem(presence.clear_presence.to_post_request_information(clear))
        content.add_request(clear_item.id, clear_item)
        response = await self.client.batch.post(content)
        # This version of the SDK cannot read JSON bodies of items.
        codes = response.get_response_status_codes()
        self.assertEqual(codes, {set_item.id: 200, get_item.id: 200, clear_item.id: 404})
        self.assertEqual(await self.shown(), "Busy/InACall")


if __name__ == "__main__":
    unittest.main()
