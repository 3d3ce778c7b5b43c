// What pusher-js and the Node server library can do, done against a rehearsal pair.
//
// Reads PUSHER_CANARY_INTEROP_TARGET: {"sdk": folder, "old": endpoint, "new": endpoint}. The old
// cluster closes each connection with 4200 after a while. Prints one JSON line for each check:
// {"check": name, "ok": true} or {"check": name, "ok": false, "detail": why}.
//
// main.rs learns the checks' names from the lines that begin with `check('`.

import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import assert from 'node:assert/strict';
import path from 'node:path';

const target = JSON.parse(process.env.PUSHER_CANARY_INTEROP_TARGET);
const require = createRequire(path.join(target.sdk, 'package.json'));
const PusherClient = require('pusher-js');
const PusherServer = require('pusher');

const PATIENCE_MS = 8000;
// Long enough for a frame that must not come to have come.
const SILENCE_MS = 150;
const masterKey = Buffer.alloc(32, 7).toString('base64');

const checks = [];
const clients = new Set();
let serial = 0;

function check(name, run) {
  checks.push({ name, run });
}

// A channel of this kind that no other check uses.
function channelName(prefix) {
  serial += 1;
  return `${prefix}interop-${serial}`;
}

function serverFor(endpoint, options = {}) {
  const url = new URL(options.tls ? endpoint.https_url : endpoint.http_url);
  return new PusherServer({
    appId: endpoint.app_id,
    key: endpoint.key,
    secret: endpoint.secret,
    host: url.hostname,
    port: url.port,
    useTLS: Boolean(options.tls),
    encryptionMasterKeyBase64: masterKey,
    ...options,
  });
}

const server = serverFor(target.new);

// A client whose authorisations are signed in this process, as user `options.user`.
function clientFor(endpoint, options = {}) {
  const signer = options.signer ?? serverFor(endpoint);
  const user = options.user ?? { id: `user-${(serial += 1)}`, info: { role: 'interop' } };
  const member = { user_id: user.id, user_info: user.info };
  const client = new PusherClient(options.key ?? endpoint.key, {
    cluster: 'none',
    wsHost: options.host ?? '127.0.0.1',
    wsPort: Number(new URL(endpoint.ws_url).port),
    wssPort: Number(new URL(endpoint.wss_url).port),
    forceTLS: Boolean(options.tls),
    enabledTransports: ['ws', 'wss'],
    channelAuthorization: {
      customHandler: ({ socketId, channelName: name }, done) => {
        const data = name.startsWith('presence-') ? member : undefined;
        done(null, signer.authorizeChannel(socketId, options.signFor?.(name) ?? name, data));
      },
    },
    userAuthentication: {
      customHandler: ({ socketId }, done) => {
        const data = { id: user.id, user_info: user.info, watchlist: options.watchlist };
        done(null, signer.authenticateUser(socketId, data));
      },
    },
  });
  client.errors = [];
  client.connection.bind('error', (error) => client.errors.push(error));
  clients.add(client);
  return client;
}

function once(emitter, event) {
  return new Promise((resolve) => {
    const handler = (data, metadata) => {
      emitter.unbind(event, handler);
      resolve({ data, metadata });
    };
    emitter.bind(event, handler);
  });
}

async function until(what, condition) {
  const end = Date.now() + PATIENCE_MS;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`never came about: ${what}`);
    await sleep(5);
  }
}

async function connected(options = {}, endpoint = target.new) {
  const client = clientFor(endpoint, options);
  if (client.connection.state !== 'connected') await once(client.connection, 'connected');
  return client;
}

// The code of a close, or of an error frame before the connection was established.
function codeOf(error) {
  return (error.error?.data ?? error.data).code;
}

async function subscribed(client, name) {
  const channel = client.subscribe(name);
  if (!channel.subscribed) await once(channel, 'pusher:subscription_succeeded');
  return channel;
}

// All that a channel gets under this name from now on.
function collect(channel, event) {
  const got = [];
  channel.bind(event, (data, metadata) => got.push({ data, metadata }));
  return got;
}

async function status(request) {
  try {
    return (await request).status;
  } catch (error) {
    if (error.status === undefined) throw error;
    return error.status;
  }
}

async function carriesEvents(prefix) {
  const name = channelName(prefix);
  const channel = await subscribed(await connected(), name);
  const got = collect(channel, 'greeting');
  const payload = { text: 'é "quoted" \\ \n', n: 1 };
  assert.equal(await status(server.trigger(name, 'greeting', payload)), 200);
  await until('the event', () => got.length > 0);
  assert.deepEqual(got.map(({ data }) => data), [payload]);
}

async function missesThenReplays(prefix) {
  const name = channelName(prefix);
  const first = (await connected()).subscribe(name);
  const [misses, got] = [collect(first, 'pusher:cache_miss'), collect(first, 'rate')];
  await until('the miss', () => misses.length > 0);
  for (const rate of [1, 2]) await server.trigger(name, 'rate', { rate });
  await until('both events', () => got.length === 2);
  const second = (await connected()).subscribe(name);
  const [none, replayed] = [collect(second, 'pusher:cache_miss'), collect(second, 'rate')];
  await until('the replay', () => replayed.length > 0);
  await sleep(SILENCE_MS);
  assert.deepEqual(replayed.map(({ data }) => data), [{ rate: 2 }]);
  assert.equal(none.length, 0);
}

// Connections

check('connects over ws', async () => {
  const client = await connected();
  assert.match(client.connection.socket_id, /^\d+\.\d+$/);
});

check('connects over wss by address', async () => {
  await connected({ tls: true });
});

check('connects over wss by name', async () => {
  await connected({ tls: true, host: 'localhost' });
});

check('gives up on an unknown key with 4001', async () => {
  const client = clientFor(target.new, { key: target.old.key });
  await until('the end', () => client.connection.state === 'disconnected');
  assert.equal(codeOf(client.errors[0]), 4001);
});

check('answers a ping', async () => {
  const client = await connected();
  const pongs = [];
  client.connection.bind('message', ({ event }) => event === 'pusher:pong' && pongs.push(event));
  client.connection.send_event('pusher:ping', {});
  await until('the pong', () => pongs.length > 0);
});

check('comes back at once after 4200 and subscribes again', async () => {
  const client = await connected({}, target.old);
  const name = channelName('private-');
  const channel = await subscribed(client, name);
  const socketId = client.connection.socket_id;
  const again = collect(channel, 'pusher:subscription_succeeded');
  await until('another subscription', () => again.length > 0);
  assert.notEqual(client.connection.socket_id, socketId);
});

// Channels

check('carries events on public channels', () => carriesEvents(''));
check('carries events on private channels', () => carriesEvents('private-'));
check('carries events on presence channels', () => carriesEvents('presence-'));
check('carries events on encrypted channels', () => carriesEvents('private-encrypted-'));
check('carries events on cache channels', () => carriesEvents('cache-'));
check('carries events on private cache channels', () => carriesEvents('private-cache-'));
check('carries events on presence cache channels', () => carriesEvents('presence-cache-'));
check('carries events on encrypted cache channels', () =>
  carriesEvents('private-encrypted-cache-'));

check('misses, then replays on cache channels', () => missesThenReplays('cache-'));
check('misses, then replays on private cache channels', () => missesThenReplays('private-cache-'));
check('misses, then replays on presence cache channels', () =>
  missesThenReplays('presence-cache-'));
check('misses, then replays on encrypted cache channels', () =>
  missesThenReplays('private-encrypted-cache-'));

check('carries events over TLS on both sides', async () => {
  const name = channelName('private-');
  const got = collect(await subscribed(await connected({ tls: true }), name), 'greeting');
  await serverFor(target.new, { tls: true }).trigger(name, 'greeting', 'text');
  await until('the event', () => got.length > 0);
  assert.equal(got[0].data, 'text');
});

check('stops at unsubscribe', async () => {
  const name = channelName('');
  const client = await connected();
  await subscribed(client, name);
  // Below the client's channels, which forget what they are not subscribed to.
  const got = [];
  client.connection.bind('message', (frame) => {
    if (frame.channel === name && frame.event === 'greeting') got.push(frame);
  });
  await server.trigger(name, 'greeting', {});
  await until('the event', () => got.length === 1);
  client.unsubscribe(name);
  await subscribed(client, channelName(''));
  await server.trigger(name, 'greeting', {});
  await sleep(SILENCE_MS);
  assert.equal(got.length, 1);
});

check('refuses the signature of another channel and stays connected', async () => {
  const client = await connected({ signFor: (name) => name.replace('wrong-', '') });
  const wrong = client.subscribe(channelName('private-wrong-'));
  await until('the error', () => client.errors.length > 0);
  assert.equal(client.errors[0].data.code, null);
  assert.match(client.errors[0].data.message, /signature/i);
  await subscribed(client, channelName('private-'));
  assert.equal(wrong.subscribed, false);
});

check('refuses a signature by the other cluster', async () => {
  const client = await connected({ signer: serverFor(target.old) });
  client.subscribe(channelName('private-'));
  await until('the error', () => client.errors.length > 0);
  assert.match(client.errors[0].data.message, /key/i);
  assert.equal(client.connection.state, 'connected');
});

check('refuses a second subscription', async () => {
  const client = await connected();
  const name = channelName('');
  await subscribed(client, name);
  client.connection.send_event('pusher:subscribe', { auth: '', channel: name });
  await until('the error', () => client.errors.length > 0);
  assert.match(client.errors[0].data.message, /existing subscription/i);
});

check('refuses a channel name beyond the rules', async () => {
  const client = await connected();
  client.connection.send_event('pusher:subscribe', { auth: '', channel: 'a b' });
  await until('the error', () => client.errors.length > 0);
  assert.equal(client.connection.state, 'connected');
});

// Encryption

check('does not deliver a tampered encrypted event', async () => {
  const name = channelName('private-encrypted-');
  const channel = await subscribed(await connected(), name);
  const got = collect(channel, 'secret');
  const sealed = await new Promise((resolve) => {
    const spy = serverFor(target.new);
    spy.post = ({ body }) => resolve(body);
    spy.trigger(name, 'secret', { n: 1 });
  });
  const data = JSON.parse(sealed.data);
  const first = data.ciphertext[0] === 'A' ? 'B' : 'A';
  data.ciphertext = first + data.ciphertext.slice(1);
  await server.post({ path: '/events', body: { ...sealed, data: JSON.stringify(data) } });
  await server.post({ path: '/events', body: sealed });
  await until('the sound event', () => got.length > 0);
  await sleep(SILENCE_MS);
  assert.deepEqual(got.map(({ data: plain }) => plain), [{ n: 1 }]);
});

// Client events

check('passes client events to all others on private channels', async () => {
  const name = channelName('private-');
  const [a, b, c] = [await connected(), await connected(), await connected()];
  const from = await subscribed(a, name);
  const to = [await subscribed(b, name), await subscribed(c, name)];
  const [echo, ...got] = [from, ...to].map((channel) => collect(channel, 'client-wave'));
  assert.equal(from.trigger('client-wave', { n: 1 }), true);
  assert.equal(from.trigger('client-wave', 'text'), true);
  await until('both events twice', () => got.every((list) => list.length === 2));
  for (const list of got) assert.deepEqual(list.map(({ data }) => data), [{ n: 1 }, 'text']);
  await sleep(SILENCE_MS);
  assert.equal(echo.length, 0);
});

check('names the sender of client events on presence channels', async () => {
  const name = channelName('presence-');
  const from = await subscribed(await connected({ user: { id: 'ann' } }), name);
  const to = await subscribed(await connected({ user: { id: 'ben' } }), name);
  const got = collect(to, 'client-wave');
  from.trigger('client-wave', {});
  await until('the event', () => got.length > 0);
  assert.equal(got[0].metadata.user_id, 'ann');
});

check('refuses client events on public channels', async () => {
  const name = channelName('');
  const client = await connected();
  const got = collect(await subscribed(await connected(), name), 'client-wave');
  (await subscribed(client, name)).trigger('client-wave', {});
  await until('the error', () => client.errors.length > 0);
  await sleep(SILENCE_MS);
  assert.equal(got.length, 0);
});

check('drops the eleventh client event within a second with 4301', async () => {
  const name = channelName('private-');
  const client = await connected();
  const got = collect(await subscribed(await connected(), name), 'client-wave');
  const from = await subscribed(client, name);
  for (let i = 0; i < 11; i += 1) from.trigger('client-wave', { i });
  await until('the error', () => client.errors.length > 0);
  assert.equal(client.errors[0].data.code, 4301);
  await until('the others', () => got.length === 10);
  assert.equal(client.connection.state, 'connected');
});

// Presence

check('tells members of joins and leaves', async () => {
  const name = channelName('presence-');
  const ann = await subscribed(await connected({ user: { id: 'ann', info: { n: 1 } } }), name);
  const [added, removed] = ['added', 'removed'].map((e) => collect(ann, `pusher:member_${e}`));
  const client = await connected({ user: { id: 'ben', info: { n: 2 } } });
  const ben = await subscribed(client, name);
  assert.deepEqual(ben.members.me, { id: 'ben', info: { n: 2 } });
  assert.deepEqual(ben.members.members, { ann: { n: 1 }, ben: { n: 2 } });
  assert.equal(ben.members.count, 2);
  await until('the join', () => added.length > 0);
  assert.deepEqual(added[0].data, { id: 'ben', info: { n: 2 } });
  client.disconnect();
  await until('the leave', () => removed.length > 0);
  assert.equal(removed[0].data.id, 'ben');
  assert.equal(ann.members.count, 1);
});

check('counts a user of two sockets once', async () => {
  const name = channelName('presence-');
  const ann = await subscribed(await connected({ user: { id: 'ann' } }), name);
  const [added, removed] = ['added', 'removed'].map((e) => collect(ann, `pusher:member_${e}`));
  const ben = { user: { id: 'ben' } };
  const [one, two] = [await connected(ben), await connected(ben)];
  await subscribed(one, name);
  assert.equal((await subscribed(two, name)).members.count, 2);
  one.disconnect();
  await sleep(SILENCE_MS);
  assert.equal(added.length, 1);
  assert.equal(removed.length, 0);
  two.disconnect();
  await until('the leave', () => removed.length > 0);
  assert.equal(removed.length, 1);
});

// HTTP API: publishing

check('triggers on a hundred channels at once', async () => {
  const names = Array.from({ length: 100 }, () => channelName(''));
  const client = await connected();
  const got = [];
  for (const name of names) (await subscribed(client, name)).bind('greeting', () => got.push(name));
  assert.equal(await status(server.trigger(names, 'greeting', {})), 200);
  await until('all events', () => got.length === 100);
  assert.deepEqual(got.toSorted(), names.toSorted());
});

check('takes a batch of ten', async () => {
  const names = Array.from({ length: 10 }, () => channelName('private-'));
  const client = await connected();
  const got = [];
  for (const name of names) {
    (await subscribed(client, name)).bind('greeting', ({ n }) => got.push(n));
  }
  const batch = names.map((channel, n) => ({ channel, name: 'greeting', data: { n } }));
  const answer = await server.triggerBatch(batch);
  assert.deepEqual(await answer.json(), {});
  await until('all events', () => got.length === 10);
  assert.deepEqual(got.toSorted(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

check('leaves out the excluded socket', async () => {
  const name = channelName('');
  const [a, b] = [await connected(), await connected()];
  const [excluded, other] = [
    collect(await subscribed(a, name), 'greeting'),
    collect(await subscribed(b, name), 'greeting'),
  ];
  await server.trigger(name, 'greeting', {}, { socket_id: a.connection.socket_id });
  await server.triggerBatch([
    { channel: name, name: 'greeting', data: {}, socket_id: a.connection.socket_id },
  ]);
  await until('both events', () => other.length === 2);
  await sleep(SILENCE_MS);
  assert.equal(excluded.length, 0);
});

check('answers with counts if asked for info', async () => {
  const [open, room] = [channelName(''), channelName('presence-')];
  const client = await connected();
  await subscribed(client, open);
  await subscribed(client, room);
  const info = 'user_count,subscription_count';
  const answer = await server.trigger([open, room], 'greeting', {}, { info });
  assert.deepEqual(await answer.json(), {
    channels: { [open]: { subscription_count: 1 }, [room]: { user_count: 1 } },
  });
  const batch = await server.triggerBatch([
    { channel: open, name: 'greeting', data: {}, info: 'subscription_count' },
    { channel: open, name: 'greeting', data: {} },
  ]);
  assert.deepEqual(await batch.json(), { batch: [{ subscription_count: 1 }, {}] });
});

// HTTP API: reading

check('lists occupied channels', async () => {
  const [mine, other] = [channelName('presence-list-'), channelName('list-')];
  const client = await connected();
  await subscribed(client, mine);
  await subscribed(client, other);
  const params = { filter_by_prefix: 'presence-list-', info: 'user_count' };
  const answer = await server.get({ path: '/channels', params });
  assert.deepEqual(await answer.json(), { channels: { [mine]: { user_count: 1 } } });
  const all = await (await server.get({ path: '/channels' })).json();
  assert.deepEqual(all.channels[other], {});
  const unfiltered = server.get({ path: '/channels', params: { info: 'user_count' } });
  assert.equal(await status(unfiltered), 400);
});

check('describes one channel', async () => {
  const [room, cache] = [channelName('presence-'), channelName('cache-')];
  const client = await connected();
  await subscribed(client, room);
  const ask = async (name, info) =>
    (await server.get({ path: `/channels/${name}`, params: info && { info } })).json();
  const counts = await ask(room, 'user_count,subscription_count');
  assert.deepEqual(counts, { occupied: true, user_count: 1, subscription_count: 1 });
  assert.deepEqual(await ask(channelName('')), { occupied: false });
  assert.equal((await ask(cache, 'cache')).cache, null);
  await server.trigger(cache, 'rate', 'text');
  const cached = (await ask(cache, 'cache')).cache;
  assert.equal(cached.data, 'text');
  assert.ok(cached.ttl > 1700 && cached.ttl <= 1800);
});

check('lists the users of a presence channel', async () => {
  const name = channelName('presence-');
  await subscribed(await connected({ user: { id: 'ann' } }), name);
  await subscribed(await connected({ user: { id: 'ben' } }), name);
  const answer = await server.get({ path: `/channels/${name}/users` });
  assert.deepEqual(await answer.json(), { users: [{ id: 'ann' }, { id: 'ben' }] });
  assert.equal(await status(server.get({ path: `/channels/${channelName('')}/users` })), 400);
});

// Users

check('signs in and gets messages for the user', async () => {
  const client = await connected({ user: { id: 'cho' } });
  client.signin();
  await client.user.signinDonePromise;
  const got = [];
  client.user.bind('note', (data) => got.push(data));
  await until('the subscription', () => client.user.serverToUserChannel?.subscribed);
  await server.sendToUser('cho', 'note', { n: 1 });
  await until('the message', () => got.length > 0);
  assert.deepEqual(got, [{ n: 1 }]);
});

check('refuses a sign-in signed by the other cluster', async () => {
  const client = await connected({ signer: serverFor(target.old) });
  client.signin();
  await until('the error', () => client.errors.length > 0);
  assert.equal(client.user.user_data, null);
});

check('terminates the connections of a user', async () => {
  const [client, other] = [await connected({ user: { id: 'dee' } }), await connected()];
  for (const each of [client, other]) {
    each.signin();
    await each.user.signinDonePromise;
  }
  assert.equal(await status(server.terminateUserConnections('dee')), 200);
  await until('the end', () => client.connection.state === 'disconnected');
  assert.equal(codeOf(client.errors.at(-1)), 4009);
  assert.equal(other.connection.state, 'connected');
});

check('tells watchers who is online', async () => {
  const eve = await connected({ user: { id: 'eve' }, watchlist: ['fay', 'gus'] });
  const events = [];
  for (const name of ['online', 'offline']) {
    eve.user.watchlist.bind(name, (event) => events.push([name, event.user_ids]));
  }
  const gus = await connected({ user: { id: 'gus' } });
  gus.signin();
  await gus.user.signinDonePromise;
  eve.signin();
  await until('the present state', () => events.length === 2);
  assert.deepEqual(events, [['online', ['gus']], ['offline', ['fay']]]);
  const fay = await connected({ user: { id: 'fay' } });
  fay.signin();
  await until('the arrival', () => events.length === 3);
  fay.disconnect();
  await until('the departure', () => events.length === 4);
  assert.deepEqual(events.slice(2), [['online', ['fay']], ['offline', ['fay']]]);
});

// HTTP API: refusals

check('refuses a wrong secret with 401', async () => {
  const wrong = serverFor(target.new, { secret: target.old.secret });
  assert.equal(await status(wrong.trigger('a', 'b', {})), 401);
});

check('refuses a wrong key with 401', async () => {
  const wrong = serverFor(target.new, { key: target.old.key });
  assert.equal(await status(wrong.trigger('a', 'b', {})), 401);
});

check('refuses an unknown app with 404', async () => {
  const wrong = serverFor(target.new, { appId: target.old.app_id });
  assert.equal(await status(wrong.trigger('a', 'b', {})), 404);
});

check('refuses a stale timestamp with 401', async () => {
  const now = Date.now;
  for (const [offset, expected] of [[-590, 200], [-610, 401], [610, 401]]) {
    Date.now = () => now() + offset * 1000;
    // The library signs before its first pause.
    const request = server.trigger('a', 'b', {});
    Date.now = now;
    assert.equal(await status(request), expected, `${offset} s`);
  }
});

check('refuses data above 10 KB with 413', async () => {
  assert.equal(await status(server.trigger('a', 'b', 'x'.repeat(10_240))), 200);
  assert.equal(await status(server.trigger('a', 'b', 'x'.repeat(10_241))), 413);
  const batch = [{ channel: 'a', name: 'b', data: 'x'.repeat(10_241) }];
  assert.equal(await status(server.triggerBatch(batch)), 413);
});

check('refuses a batch of eleven with 400', async () => {
  const batch = Array.from({ length: 11 }, () => ({ channel: 'a', name: 'b', data: {} }));
  assert.equal(await status(server.triggerBatch(batch)), 400);
});

check('refuses a hundred and one channels with 400', async () => {
  const body = { name: 'b', data: '{}', channels: Array.from({ length: 101 }, (_, i) => `a-${i}`) };
  assert.equal(await status(server.post({ path: '/events', body })), 400);
});

check('refuses a sound request for an unknown path with 404', async () => {
  assert.equal(await status(server.get({ path: '/nothing' })), 404);
});

async function main() {
  for (const { name, run } of checks) {
    let line = { check: name, ok: true };
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error('took too long')), 2 * PATIENCE_MS);
    });
    try {
      await Promise.race([run(), late]);
    } catch (error) {
      line = { check: name, ok: false, detail: String(error?.stack ?? error) };
    }
    clearTimeout(timer);
    for (const client of clients) client.disconnect();
    clients.clear();
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
  process.exit(0);
}

await main();
