// A client that stays on a cluster: pusher-js on a public, a private and a presence channel.
//
// Reads PUSHER_CANARY_INTEROP_TARGET: {"sdk": folder, "port": of 127.0.0.1, "id", "key", "secret"}.
// Prints "subscribed" once all three are confirmed, and stays until it is ended.

import { createRequire } from 'node:module';
import path from 'node:path';

const target = JSON.parse(process.env.PUSHER_CANARY_INTEROP_TARGET);
const require = createRequire(path.join(target.sdk, 'package.json'));
const PusherClient = require('pusher-js');
const PusherServer = require('pusher');

const server = new PusherServer({
  appId: target.id,
  key: target.key,
  secret: target.secret,
  host: '127.0.0.1',
  port: String(target.port),
  useTLS: false,
});
const client = new PusherClient(target.key, {
  cluster: 'none',
  wsHost: '127.0.0.1',
  wsPort: target.port,
  forceTLS: false,
  enabledTransports: ['ws'],
  enableStats: false,
  channelAuthorization: {
    customHandler: ({ socketId, channelName }, callback) => {
      const member = channelName.startsWith('presence-') ? [{ user_id: 'straggler' }] : [];
      callback(null, server.authorizeChannel(socketId, channelName, ...member));
    },
  },
});

let left = 3;
for (const name of ['news', 'private-orders', 'presence-shop']) {
  const channel = client.subscribe(name);
  channel.bind('pusher:subscription_succeeded', () => {
    left -= 1;
    if (left === 0) console.log('subscribed');
  });
  channel.bind('pusher:subscription_error', (error) => {
    console.log(`${name}: ${JSON.stringify(error)}`);
    process.exit(1);
  });
}
