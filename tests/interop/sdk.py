"""What the Python server library can do, done against a rehearsal pair.

Reads PUSHER_CANARY_INTEROP_TARGET: {"ca_file": path, "old": endpoint, "new": endpoint}. Prints one
JSON line for each check: {"check": name, "ok": true}, or false with a "detail".

main.rs learns the checks' names from the lines that begin with `@check('`.
"""

import base64
import json
import os
import signal
import socket
import struct
import sys
import traceback
import urllib.parse

import pusher
import pusher.errors

TARGET = json.loads(os.environ["PUSHER_CANARY_INTEROP_TARGET"])
NEW = TARGET["new"]
MASTER_KEY = base64.b64encode(bytes([7]) * 32).decode()
CHECKS = []
SERIAL = iter(range(1, 1_000_000))


def check(name):
    def register(run):
        CHECKS.append((name, run))
        return run

    return register


def channel_name(prefix=""):
    return f"{prefix}python-{next(SERIAL)}"


def server_for(endpoint, tls=False, **options):
    url = urllib.parse.urlsplit(endpoint["https_url" if tls else "http_url"])
    identity = {name: endpoint[name] for name in ("app_id", "key", "secret")}
    identity.update(options)
    client = pusher.Pusher(
        ssl=tls, host=url.hostname, port=url.port,
        encryption_master_key_base64=MASTER_KEY, **identity,
    )
    if tls:
        client._pusher_client.http.options["verify"] = TARGET["ca_file"]
    return client


SERVER = server_for(NEW)


class Socket:
    """As much of a WebSocket client as the checks need: text frames shorter than 64 KiB."""

    def __init__(self, endpoint):
        url = urllib.parse.urlsplit(endpoint["ws_url"])
        self.stream = socket.create_connection((url.hostname, url.port), timeout=8)
        self.stream.sendall(
            f"GET /app/{endpoint['key']}?protocol=7&client=interop HTTP/1.1\r\n"
            f"Host: {url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.read(1)
        assert head.startswith(b"HTTP/1.1 101 "), head
        # The accept value that RFC 6455 gives for this key.
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head, head
        established = json.loads(self.next()["data"])
        self.id = established["socket_id"]

    def read(self, count):
        data = b""
        while len(data) < count:
            part = self.stream.recv(count - len(data))
            assert part, "the connection ended"
            data += part
        return data

    def next(self):
        head, length = struct.unpack("!BB", self.read(2))
        assert head == 0x81, hex(head)
        if length == 126:
            (length,) = struct.unpack("!H", self.read(2))
        return json.loads(self.read(length))

    def send(self, event, data):
        text = json.dumps({"event": event, "data": data}).encode()
        # A mask of zeros leaves the text as it is.
        length = struct.pack("!BH", 0x80 | 126, len(text))
        self.stream.sendall(b"\x81" + length + bytes(4) + text)

    def subscribe(self, channel, **auth):
        self.send("pusher:subscribe", {"channel": channel, **auth})
        frame = self.next()
        assert frame["event"] == "pusher_internal:subscription_succeeded", frame
        assert frame["channel"] == channel, frame
        return json.loads(frame["data"])


def refused_with(error, run):
    try:
        run()
    except error:
        return
    raise AssertionError(f"not refused with {error.__name__}")


@check('triggers over http')
def _():
    channel, ws = channel_name(), Socket(NEW)
    ws.subscribe(channel)
    assert SERVER.trigger(channel, "greeting", {"text": "é"}) == {}
    frame = ws.next()
    assert (frame["event"], frame["channel"]) == ("greeting", channel), frame
    assert json.loads(frame["data"]) == {"text": "é"}, frame


@check('triggers over https')
def _():
    channel, ws = channel_name(), Socket(NEW)
    ws.subscribe(channel)
    assert server_for(NEW, tls=True).trigger([channel, channel_name()], "greeting", "text") == {}
    assert ws.next()["data"] == "text"


@check('leaves out the excluded socket')
def _():
    channel, one, two = channel_name(), Socket(NEW), Socket(NEW)
    one.subscribe(channel)
    two.subscribe(channel)
    SERVER.trigger(channel, "first", {}, one.id)
    SERVER.trigger(channel, "second", {})
    assert one.next()["event"] == "second"
    assert [two.next()["event"], two.next()["event"]] == ["first", "second"]


@check('triggers a batch')
def _():
    channel, ws = channel_name(), Socket(NEW)
    ws.subscribe(channel)
    batch = [{"channel": channel, "name": "greeting", "data": str(n)} for n in range(10)]
    assert SERVER.trigger_batch(batch) == {}
    assert sorted(ws.next()["data"] for _ in range(10)) == sorted(str(n) for n in range(10))
    eleven = [{"channel": channel, "name": "greeting", "data": ""} for _ in range(11)]
    refused_with(pusher.errors.PusherBadRequest, lambda: SERVER.trigger_batch(eleven))


@check('authenticates private channels')
def _():
    channel, ws = channel_name("private-"), Socket(NEW)
    ws.subscribe(channel, **SERVER.authenticate(channel, ws.id))


@check('authenticates presence channels')
def _():
    channel, ws = channel_name("presence-"), Socket(NEW)
    member = {"user_id": "ann", "user_info": {"name": "Änn"}}
    data = ws.subscribe(channel, **SERVER.authenticate(channel, ws.id, member))
    assert data == {"presence": {"ids": ["ann"], "hash": {"ann": {"name": "Änn"}}, "count": 1}}


@check('authenticates encrypted channels')
def _():
    channel, ws = channel_name("private-encrypted-"), Socket(NEW)
    auth = SERVER.authenticate(channel, ws.id)
    ws.subscribe(channel, auth=auth["auth"])
    SERVER.trigger(channel, "secret", {"n": 1})
    import nacl.secret

    box = nacl.secret.SecretBox(base64.b64decode(auth["shared_secret"]))
    sealed = json.loads(ws.next()["data"])
    nonce, text = (base64.b64decode(sealed[name]) for name in ("nonce", "ciphertext"))
    assert json.loads(box.decrypt(text, nonce)) == {"n": 1}


@check('authenticates users')
def _():
    ws = Socket(NEW)
    ws.send("pusher:signin", SERVER.authenticate_user(ws.id, {"id": "ben"}))
    frame = ws.next()
    assert frame["event"] == "pusher:signin_success", frame


@check('lists channels')
def _():
    channel, ws = channel_name("presence-list-"), Socket(NEW)
    ws.subscribe(channel, **SERVER.authenticate(channel, ws.id, {"user_id": "ann"}))
    got = SERVER.channels_info("presence-list-", ["user_count"])
    assert got == {"channels": {channel: {"user_count": 1}}}, got
    assert channel in SERVER.channels_info()["channels"]
    refused_with(pusher.errors.PusherBadRequest, lambda: SERVER.channels_info("a", ["user_count"]))


@check('describes a channel')
def _():
    channel, ws = channel_name("presence-"), Socket(NEW)
    ws.subscribe(channel, **SERVER.authenticate(channel, ws.id, {"user_id": "ann"}))
    got = SERVER.channel_info(channel, ["user_count", "subscription_count"])
    assert got == {"occupied": True, "user_count": 1, "subscription_count": 1}, got


@check('lists users')
def _():
    channel, ws = channel_name("presence-"), Socket(NEW)
    ws.subscribe(channel, **SERVER.authenticate(channel, ws.id, {"user_id": "ann"}))
    got = SERVER.users_info(channel)
    assert got == {"users": [{"id": "ann"}]}, got


@check('refuses a wrong secret and a wrong key')
def _():
    for name in ("secret", "key"):
        wrong = server_for(NEW, **{name: TARGET["old"][name]})
        refused_with(pusher.errors.PusherBadAuth, lambda: wrong.trigger("a", "b", {}))
        refused_with(pusher.errors.PusherBadAuth, lambda: wrong.channels_info())


def main():
    for name, run in CHECKS:
        line = {"check": name, "ok": True}
        signal.alarm(16)
        try:
            run()
        except Exception:
            line = {"check": name, "ok": False, "detail": traceback.format_exc()}
        signal.alarm(0)
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main())
