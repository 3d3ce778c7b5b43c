// A client as a script of k6, which knows WebSockets and not the protocol. Reads COMPARE_JOB and prints
// what pusher_js.mjs does.
//
// It uses what costs k6 least: `k6/ws` for one connection, since the other module takes a fifth more
// CPU and piles up in memory what it cannot keep up with; for many, that other module, since `k6/ws`
// has one to a virtual user, and each of those brings an interpreter along.

import { WebSocket } from 'k6/experimental/websockets';
import ws from 'k6/ws';
import { Count } from './count.mjs';

const job = JSON.parse(__ENV.COMPARE_JOB);
const url = `ws://127.0.0.1:${job.port}/app/bench?protocol=7`;

export const options = { vus: 1, iterations: 1 };

export default function () {
  const count = new Count(job.channels.length);
  let opened = 0;
  let awaited = 0;

  // Before the server's greeting, which says nothing that public channels need: the module for many
  // loses it at times, where it comes together with the handshake.
  function subscribe(socket) {
    for (const channel of job.channels) {
      socket.send(JSON.stringify({ event: 'pusher:subscribe', data: { channel } }));
    }
  }

  function hear(text) {
    const frame = JSON.parse(text);
    switch (frame.event) {
      case 'pc-canary':
        count.take(JSON.parse(frame.data));
        break;
      case 'pusher_internal:subscription_succeeded':
        awaited -= 1;
        if (awaited === 0 && opened === job.connections) {
          console.log('{"subscribed":true}');
        } else if (awaited === 0) {
          openMore();
        }
        break;
    }
  }

  if (job.connections === 1) {
    opened = 1;
    awaited = job.channels.length;
    ws.connect(url, {}, (socket) => {
      socket.on('open', () => subscribe(socket));
      socket.on('message', hear);
    });
    console.log(JSON.stringify(count.result()));
    return;
  }

  function openMore() {
    const more = Math.min(job.at_once, job.connections - opened);
    opened += more;
    awaited = more * job.channels.length;
    for (let at = 0; at < more; at += 1) {
      const socket = new WebSocket(url);
      socket.onopen = () => subscribe(socket);
      socket.onmessage = ({ data }) => hear(data);
    }
  }

  openMore();
}
