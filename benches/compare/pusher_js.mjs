// A client on pusher-js. Reads COMPARE_JOB: {"sdk": folder, "port", "channels", "connections",
// "at_once"}. Prints a line once everything is subscribed to, and what it counted once the server has
// closed.

import { createRequire } from 'node:module';
import path from 'node:path';
import { Count } from './count.mjs';

const job = JSON.parse(process.env.COMPARE_JOB);
const Pusher = createRequire(path.join(job.sdk, 'package.json'))('pusher-js');

const count = new Count(job.channels.length);
let opened = 0;
let awaited = 0;

function subscribed() {
  awaited -= 1;
  if (awaited === 0 && opened === job.connections) {
    console.log('{"subscribed":true}');
  } else if (awaited === 0) {
    openMore();
  }
}

function open() {
  const pusher = new Pusher('bench', {
    cluster: '',
    wsHost: '127.0.0.1',
    wsPort: job.port,
    forceTLS: false,
    enabledTransports: ['ws'],
    disableStats: true,
  });
  for (const name of job.channels) {
    const channel = pusher.subscribe(name);
    channel.bind('pusher:subscription_succeeded', subscribed);
    channel.bind('pc-canary', (data) => count.take(data));
  }
  pusher.connection.bind('state_change', ({ previous }) => {
    if (previous === 'connected') {
      console.log(JSON.stringify(count.result()));
      // Or it would connect again.
      process.exit();
    }
  });
}

function openMore() {
  const more = Math.min(job.at_once, job.connections - opened);
  opened += more;
  awaited = more * job.channels.length;
  for (let at = 0; at < more; at += 1) {
    open();
  }
}

openMore();
