"""The library O365 over TLS, with a user's token: its functions for presences are those of /me.

    PRESENCE_URL=https://localhost:8080 PRESENCE_TOKEN=... PRESENCE_USER=... python secure_libraries.py

SSL_CERT_FILE names the certificate's authority. Only the base URL is specific to presenced.
"""

import os
import unittest

os.environ["REQUESTS_CA_BUNDLE"] = os.environ["SSL_CERT_FILE"]

import test_libraries as plain
from O365.teams import Activity, Availability, PreferredActivity, PreferredAvailability

USER = os.environ["PRESENCE_USER"]


class Secure(unittest.TestCase):
    def setUp(self):
        self.teams, self.ignored = plain.teams(os.environ["PRESENCE_TOKEN"])

    def test_durations_are_the_default_as_the_library_misspells_them(self):
        presence = self.teams.set_my_presence(plain.APP, Availability.BUSY, Activity.INACALL, "PT1H")
        self.assertEqual((presence.availability, presence.activity), ("Busy", "InACall"))
        presence = self.teams.set_my_user_preferred_presence(
            PreferredAvailability.DONOTDISTURB, PreferredActivity.DONOTDISTURB, "PT8H"
        )
        self.assertEqual(presence.activity, "DoNotDisturb")
        self.assertEqual(self.ignored, ["expirationDutaion", None] * 2)

    def test_another_users_presence_needs_a_permission(self):
        self.assertEqual(self.teams.get_my_presence().object_id, USER)
        with self.assertRaises(Exception) as refused:
            self.teams.get_user_presence(user_id="other")
        self.assertIn("403", str(refused.exception))


if __name__ == "__main__":
    del plain.Libraries
    unittest.main()
