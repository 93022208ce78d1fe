"""Receives change notifications, verifies and decrypts them: python receiver.py 8081

A proxy in front of it speaks TLS. PRESENCE_TENANT, PRESENCE_APP, PRESENCE_CLIENT_STATE and
PRESENCE_KEY_FILE are for Graph's notifications, PRESENCE_SIGNING_KEY is for those of the service."""

import base64
import hmac
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from standardwebhooks import Webhook

URL = os.environ.get("PRESENCE_URL", "http://localhost:8080")
# The same in all of Graph's tokens: the application that sends notifications.
PUBLISHER = "0bf30f3b-4a52-48df-9a82-234910c4a086"
BODY_MAX = 1024 * 1024

# It caches the keys, and reads them again for an unknown one.
keys = jwt.PyJWKClient(URL + "/.well-known/jwks.json")
# The newest notification of each subscription.
newest, lock = {}, threading.Lock()


def verify_token(token):
    """Raises an error unless the service made the token for this application."""
    tenant, key = os.environ["PRESENCE_TENANT"], keys.get_signing_key_from_jwt(token).key
    claims = jwt.decode(
        token,
        key,
        algorithms=["RS256"],
        audience=os.environ["PRESENCE_APP"],
        issuer=f"https://sts.windows.net/{tenant}/",
        options={"require": ["exp", "aud", "iss"]},
    )
    if claims["azp"] != PUBLISHER:
        raise ValueError("the token is not from the sender of notifications")


def decrypt(content):
    """The presence in `encryptedContent`."""
    with open(os.environ["PRESENCE_KEY_FILE"], "rb") as file:
        private_key = serialization.load_pem_private_key(file.read(), password=None)
    sha1 = hashes.SHA1()
    key = private_key.decrypt(base64.b64decode(content["dataKey"]), OAEP(MGF1(sha1), sha1, label=None))
    data = base64.b64decode(content["data"])
    signature = hmac.digest(key, data, "sha256")
    if not hmac.compare_digest(signature, base64.b64decode(content["dataSignature"])):
        raise ValueError("the signature of the encrypted content is wrong")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    padded = decryptor.update(data) + decryptor.finalize()
    return json.loads(unpadder.update(padded) + unpadder.finalize())


def read_graph(message):
    """Applies a notification in Graph's form."""
    state = os.environ.get("PRESENCE_CLIENT_STATE", "")
    if not all(hmac.compare_digest(item.get("clientState") or "", state) for item in message["value"]):
        raise ValueError("the client state is wrong")
    encrypted = [item for item in message["value"] if "encryptedContent" in item]
    if encrypted and not message.get("validationTokens"):
        raise ValueError("the validation tokens are missing")
    for token in message.get("validationTokens", []):
        verify_token(token)
    for item in message["value"]:
        if "lifecycleEvent" in item:
            print("--", item["lifecycleEvent"], item["subscriptionId"], flush=True)
        elif "encryptedContent" in item:
            presence = decrypt(item["encryptedContent"])
            print(presence["id"], presence["availability"], presence["activity"], flush=True)
        else:
            print(item["resourceData"]["id"], "changed", flush=True)


def read_service(message):
    """Applies a notification in the form of the service, whose signature was verified."""
    data = message["data"]
    if message["type"] != "presence.changed":
        return print("--", message["type"], data["subscriptionId"], flush=True)
    order = (data["generation"], data["count"])
    with lock:
        if order <= newest.get(data["subscriptionId"], (0, 0)):
            return print("-- not newer", flush=True)
        newest[data["subscriptionId"]] = order
        for presence in data["presences"]:
            print(presence["userId"], presence["availability"], presence["activity"], flush=True)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        query = parse_qs(urlsplit(self.path).query)
        if "validationToken" in query:
            # As plain text, so that no browser runs a script in it.
            return self.reply(200, query["validationToken"][0])
        length = int(self.headers.get("content-length", "0"))
        if length > BODY_MAX:
            return self.reply(413)
        body = self.rfile.read(length)
        try:
            if "webhook-signature" in self.headers:
                webhook = Webhook(os.environ["PRESENCE_SIGNING_KEY"])
                read_service(webhook.verify(body, dict(self.headers)))
            else:
                read_graph(json.loads(body))
        except Exception as error:
            print("-- refused:", error, flush=True)
            return self.reply(400)
        self.reply(202)

    def reply(self, status, text=""):
        self.send_response(status)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        """Logs no request line: the URL can have a secret."""


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
print(f"-- listening: {server.server_port}", flush=True)
server.serve_forever()
