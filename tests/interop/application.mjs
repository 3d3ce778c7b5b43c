// An application on official SDKs: one user on channels of old, and a backend that publishes each
// event to both clusters, but for some that it forgets to publish to new.
//
// Reads PUSHER_CANARY_INTEROP_TARGET: {"sdk": folder, "masterKey": base64, "old" and "new": {"port": of
// 127.0.0.1, "id", "key", "secret"}}. Prints "publishing" once the user is on every channel, and
// "skipped CHANNEL" for each event that new does not get. Goes on until it is ended.

import { createRequire } from 'node:module';
import path from 'node:path';

const target = JSON.parse(process.env.PUSHER_CANARY_INTEROP_TARGET);
const require = createRequire(path.join(target.sdk, 'package.json'));
const PusherClient = require('pusher-js');
const PusherServer = require('pusher');

const CHANNELS = ['orders-a', 'private-orders-b', 'private-orders-c', 'private-encrypted-orders-d'];
const FORGETFUL = 'private-orders-c';
const EVERY_MS = 25;

const backend = ({ port, id, key, secret }) => new PusherServer({
  appId: id,
  key,
  secret,
  host: '127.0.0.1',
  port: String(port),
  useTLS: false,
  encryptionMasterKeyBase64: target.masterKey,
});
const old = backend(target.old);
const fresh = backend(target.new);

const client = new PusherClient(target.old.key, {
  cluster: 'none',
  wsHost: '127.0.0.1',
  wsPort: target.old.port,
  forceTLS: false,
  enabledTransports: ['ws'],
  enableStats: false,
  channelAuthorization: {
    customHandler: ({ socketId, channelName }, callback) => {
      callback(null, old.authorizeChannel(socketId, channelName));
    },
  },
});

const failed = (error) => {
  console.log(`failed: ${error}`);
  process.exit(1);
};

function publish() {
  let count = 0;
  setInterval(() => {
    const channel = CHANNELS[count % CHANNELS.length];
    const order = { id: `o-${count}`, total: { cents: 100 + count, currency: 'EUR' } };
    old.trigger(channel, 'order-placed', order).catch(failed);
    if (channel === FORGETFUL && count % 10 === 2) {
      console.log(`skipped ${channel}`);
    } else {
      fresh.trigger(channel, 'order-placed', order).catch(failed);
    }
    count += 1;
  }, EVERY_MS);
}

let left = CHANNELS.length;
for (const name of CHANNELS) {
  const channel = client.subscribe(name);
  channel.bind('pusher:subscription_succeeded', () => {
    left -= 1;
    if (left === 0) {
      console.log('publishing');
      publish();
    }
  });
  channel.bind('pusher:subscription_error', (error) => failed(JSON.stringify(error)));
}
