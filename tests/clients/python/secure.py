"""The official Graph SDK for Python over TLS, with a user's token.

    PRESENCE_URL=https://localhost:8080 PRESENCE_TOKEN=... PRESENCE_USER=... python secure.py

SSL_CERT_FILE names the certificate's authority. Only the adapter is specific to presenced.
"""

import os
import unittest

import test_msgraph as plain
from msgraph.generated.models.o_data_errors.o_data_error import ODataError

USER = os.environ["PRESENCE_USER"]


class Secure(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.client = plain.client(os.environ["PRESENCE_TOKEN"])

    async def refused(self, call, status, code):
        with self.assertRaises(ODataError) as raised:
            await call
        self.assertEqual((raised.exception.response_status_code, raised.exception.error.code), (status, code))

    async def test_me(self):
        await self.client.me.presence.set_presence.post(plain.session())
        presence = await self.client.me.presence.get()
        self.assertEqual((presence.id, presence.availability, presence.activity), (USER, "Busy", "InACall"))

    async def test_a_users_token_grants_no_other_user(self):
        other = self.client.users.by_user_id("other").presence
        await self.refused(other.set_presence.post(plain.session()), 401, "Unauthorized")
        await self.refused(other.get(), 403, "Forbidden")

    async def test_an_invalid_token_is_refused(self):
        await self.refused(plain.client("a.b.c").me.presence.get(), 401, "InvalidAuthenticationToken")


if __name__ == "__main__":
    del plain.Msgraph
    unittest.main()
